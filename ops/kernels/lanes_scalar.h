// One float at a time, plain C++.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "half.h"

namespace lfm {
namespace {

struct Lanes {
  using F = float;
  static constexpr int kWidth = 1;
  static constexpr int kTileRows = 2;  // of a matrix product, with kTileVectors columns of F
  static constexpr int kTileVectors = 4;

  static F load(const float* p) { return *p; }
  static F load(const uint16_t* p) { return half_to_float(*p); }
  static F load(const int8_t* p) { return *p; }
  static void store(float* p, F x) { *p = x; }
  static void store(uint16_t* p, F x) { *p = to_half(x); }
  static F set(float x) { return x; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F fma(F a, F b, F c) { return a * b + c; }  // std::fma may be a call, and slow
  static F max(F a, F b) { return a > b ? a : b; }
  static F round(F x) { return std::nearbyintf(x); }
  // 2^n of whole n from -126 to 127.
  static F power_of_two(F n) {
    const uint32_t word = static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23;
    float power;
    std::memcpy(&power, &word, sizeof power);
    return power;
  }
  // y where x >= limit, else 0.
  static F where_at_least(F x, F limit, F y) { return x >= limit ? y : 0.0f; }
  static void transpose(F (&)[kWidth]) {}

 private:
  // To the nearest float16, of two to the even one.
  static uint16_t to_half(float x) {
    uint32_t word;
    std::memcpy(&word, &x, sizeof word);
    const uint32_t sign = word >> 16 & 0x8000;
    const uint32_t size = word & 0x7FFFFFFF;
    if (size > 0x7F800000) return static_cast<uint16_t>(sign | 0x7E00);   // not a number
    if (size >= 0x477FF000) return static_cast<uint16_t>(sign | 0x7C00);  // rounds to infinity
    if (size < 0x38800000) {  // subnormal: adding 0.5 leaves multiples of 2^-24 in the fraction
      float magnitude;
      std::memcpy(&magnitude, &size, sizeof magnitude);
      magnitude += 0.5f;
      std::memcpy(&word, &magnitude, sizeof word);
      return static_cast<uint16_t>(sign | (word - 0x3F000000));
    }
    const uint32_t rounded = size + 0xFFF + (size >> 13 & 1);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
  }
};

}  // namespace
}  // namespace lfm
