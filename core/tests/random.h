// What fuzzers draw from: the same numbers for the same seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

namespace lfm::core {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  size_t below(size_t end) { return std::uniform_int_distribution<size_t>(0, end - 1)(engine_); }
  bool one_in(size_t times) { return below(times) == 0; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace lfm::core
