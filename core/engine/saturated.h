// Sums and products of sizes from a file: the largest number where they are more.
#pragma once

#include <cstdint>
#include <limits>

namespace lfm::core {

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

// Of numbers that are not negative.
inline int64_t saturated_sum(int64_t a, int64_t b) { return a > kLargest - b ? kLargest : a + b; }

inline int64_t saturated_product(int64_t a, int64_t b) {
  return b > 0 && a > kLargest / b ? kLargest : a * b;
}

}  // namespace lfm::core
