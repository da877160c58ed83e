// The constants that make every instruction set compute the same bits.
//
// exp(x) = 2^n * p(r) with n = round(x / ln 2) and r = x - n ln 2, by the same steps everywhere:
// r by two fma, p by Horner's rule, then p = fma(p, r * r, r) + 1. Relative error below 2e-7.
#pragma once

namespace lfm {

constexpr float kExpLimit = 104.0f;  // beyond it lie infinity and zero; x is clamped
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2High = 0.693359375f;
constexpr float kLn2Low = -2.12194440e-4f;
constexpr float kExpPolynomial[6] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                     4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};

// Groups of activations whose largest magnitude lies below count as zeros: so products of scales,
// and a sixteenth of them, are never subnormal and lose no bits.
constexpr float kSmallestMagnitude = 0x1p-90f;

}  // namespace lfm
