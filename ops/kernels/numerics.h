// The constants that make every instruction set compute the same bits.
//
// exp(x) = 2^n * p(r) with n = round(x / ln 2) and r = x - n ln 2, by the same steps everywhere:
// r by two fma, p by Horner's rule, then p = fma(p, r * r, r) + 1. Relative error below 2e-7.
#pragma once

#include <cstdint>

namespace lfm {

constexpr float kExpLimit = 104.0f;  // beyond it lie infinity and zero; x is clamped
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440e-4f;
constexpr float kExpPolynomial[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                     4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

// Groups of activations whose largest magnitude lies below count as zeros: so neither a scale, nor
// a sixteenth of it, nor its product with a scaled sum is subnormal or loses bits.
constexpr float kSmallestMagnitude = 0x1p-90f;

// Integers summed up from the bits of this float, whose last bit is worth one, end at the bits of
// kOneFloat + sum, as long as |sum| < 2^22. With them fma(kOneFloat + sum, scale, -kOneFloat *
// scale) is float(sum) * scale rounded once, in one step for all sums that share a scale: its last
// product is exact, since a float16 has 11 bits and kOneFloat 2.
constexpr float kOneFloat = 12582912.0f;
constexpr int32_t kOneBits = 0x4b400000;

}  // namespace lfm
