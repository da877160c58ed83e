// The open-addressed tables of a device.bin: export/lfm_export/device/hashing.py makes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace lfm::core {

inline uint64_t mixed(uint64_t code) {
  constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  code *= kFactor;
  return (code ^ code >> 32) * kFactor;
}

inline uint64_t hash_of_bytes(std::string_view bytes) {
  uint64_t code = bytes.size();
  for (size_t at = 0; at < bytes.size(); at += 8) {
    uint64_t part = 0;  // little-endian, as every machine that we run on
    std::memcpy(&part, bytes.data() + at, bytes.size() - at < 8 ? bytes.size() - at : 8);
    code = mixed(code ^ part);
  }
  return code;
}

inline uint64_t hash_of_pair(uint32_t left, uint32_t right) {
  return mixed(uint64_t{left} << 32 | right);
}

// Of tables with less than 2**32 slots.
inline size_t first_slot(uint64_t hash, size_t slots) {
  return static_cast<size_t>((hash >> 32) * slots >> 32);
}

}  // namespace lfm::core
