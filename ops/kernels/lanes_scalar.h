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
  static F fused(F a, F b, F c) { return std::fma(a, b, c); }
  static F div(F a, F b) { return a / b; }
  static F negate(F x) { return -x; }
  // A NaN as the second passes.
  static F min(F a, F b) { return a < b ? a : b; }
  static F max(F a, F b) { return a > b ? a : b; }
  static F round(F x) { return std::nearbyintf(x); }
  // 2^n of whole n from -126 to 127.
  static F power_of_two(F n) {
    const uint32_t word = static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23;
    float power;
    std::memcpy(&power, &word, sizeof power);
    return power;
  }
  // p * 2^n, rounded once.
  static F scaled(F p, F n) { return n != n ? n : std::ldexp(p, static_cast<int>(n)); }
  // y where x >= limit, else 0.
  static F where_at_least(F x, F limit, F y) { return x >= limit ? y : 0.0f; }
  static void transpose(F (&)[kWidth]) {}

  // The larger magnitude, found among integers, so that a NaN is larger than any number.
  static F larger(F magnitude, F x) {
    uint32_t most, bits;
    std::memcpy(&most, &magnitude, sizeof most);
    std::memcpy(&bits, &x, sizeof bits);
    bits &= 0x7FFFFFFF;
    if (bits > most) most = bits;
    std::memcpy(&magnitude, &most, sizeof most);
    return magnitude;
  }
  static float largest(F magnitude) { return magnitude; }
  // Rounds x * factor to 32 integers and returns their sum.
  static int32_t store_rounded(int8_t* p, const F (&x)[32], F factor) {
    int32_t sum = 0;
    for (int i = 0; i < 32; ++i) {
      const float whole = std::nearbyint(x[i] * factor);
      p[i] = whole >= -128.0f && whole <= 127.0f ? static_cast<int8_t>(whole) : int8_t{-128};
      sum += p[i];
    }
    return sum;
  }

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
