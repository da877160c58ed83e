// The arithmetic that every language repeats bit for bit; see docs/sampling.md.
#pragma once

#include <cstdint>
#include <cstring>

namespace lfm {

constexpr double kExpLowest = -700.0;  // below it, exp is 0
constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2High = 6.93147180369123816490e-01;  // its last 32 bits are zero
constexpr double kLn2Low = 1.90821492927058770002e-10;
constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer

// 1 / 13!, ..., 1 / 1!, 1: each the double next to the fraction.
constexpr double kInverseFactorials[] = {1.0 / 6227020800.0,
                                         1.0 / 479001600.0,
                                         1.0 / 39916800.0,
                                         1.0 / 3628800.0,
                                         1.0 / 362880.0,
                                         1.0 / 40320.0,
                                         1.0 / 5040.0,
                                         1.0 / 720.0,
                                         1.0 / 120.0,
                                         1.0 / 24.0,
                                         1.0 / 6.0,
                                         1.0 / 2.0,
                                         1.0,
                                         1.0};

constexpr int kExpLanes = 2;  // 16 bytes: what every CPU has, and no compiler takes apart
typedef double Doubles __attribute__((vector_size(8 * kExpLanes)));
typedef uint64_t Bits __attribute__((vector_size(8 * kExpLanes)));

// Replaces every x <= 0 by exp(x), as 2^n p(x - n ln 2), each operation rounded by itself.
// Relative error below 4e-16.
inline void exp_of_negative(double* values) {
  Doubles x;
  std::memcpy(&x, values, sizeof x);
  const Doubles lowest = Doubles{} + kExpLowest;
  const Doubles clamped = x < lowest ? lowest : x;
  const Doubles shifted = clamped * kLog2E + kRounder;
  const Doubles n = shifted - kRounder;
  const Doubles r = (clamped - n * kLn2High) - n * kLn2Low;
  Doubles p = r * kInverseFactorials[0] + kInverseFactorials[1];
  for (int i = 2; i < 14; ++i) p = p * r + kInverseFactorials[i];
  // The lowest bits of `shifted` are n; 2^n is normal.
  Bits bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 1023) << 52;
  Doubles power;
  std::memcpy(&power, &bits, sizeof power);
  const Doubles result = x < lowest ? Doubles{} : p * power;
  std::memcpy(values, &result, sizeof result);
}

// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
inline uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// Draw `index` of a seed, in [0, 1): SplitMix64 started at the mixed seed.
inline double uniform(uint64_t seed, uint64_t index) {
  const uint64_t bits = mix64(mix64(seed) + (index + 1) * 0x9e3779b97f4a7c15u);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace lfm
