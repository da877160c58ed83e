// float16 without help from the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include "compiler.h"

namespace lfm {

/// The float32 with the value of float16 `bits`; exact, infinities and NaN included.
static LFM_INLINE float half_to_float(uint16_t bits) {
  const uint32_t sign = uint32_t{bits} >> 15 << 31;
  uint32_t exponent = bits >> 10 & 31;
  uint32_t fraction = bits & 1023;
  if (exponent == 31) {
    exponent = 255;
  } else if (exponent != 0) {
    exponent += 127 - 15;
  } else if (fraction != 0) {  // subnormal: shift until the leading one falls out
    exponent = 127 - 15 + 1;
    while ((fraction & 1024) == 0) {
      fraction <<= 1;
      --exponent;
    }
    fraction &= 1023;
  }
  const uint32_t word = sign | exponent << 23 | fraction << 13;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

}  // namespace lfm
