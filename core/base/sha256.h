// SHA-256 (FIPS 180-4), by the CPU's own instructions where it has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lfm::core {

class Sha256 {
 public:
  Sha256();
  void add(const void* data, size_t size);
  std::string hex();  // ends it

 private:
  uint32_t state_[8];
  uint64_t size_ = 0;
  unsigned char block_[64];
};

std::string sha256_hex(std::string_view bytes);

// Whether the CPU has instructions for it.
bool sha256_uses_the_cpu();

}  // namespace lfm::core
