// 8 floats at a time, AVX2 with FMA and F16C.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "compiler.h"

namespace lfm {
namespace {

struct Lanes {
  using F = __m256;
  static constexpr int kWidth = 8;
  static constexpr int kTileRows = 6;  // of a matrix product, with kTileVectors columns of F
  static constexpr int kTileVectors = 2;

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static F load(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static F load(const int8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  }
  static void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static void store(uint16_t* p, F x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F set(float x) { return _mm256_set1_ps(x); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F fused(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F negate(F x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }
  // A NaN as the second passes.
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F round(F x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  // 2^n of whole n from -126 to 127.
  static F power_of_two(F n) { return power_of_two(_mm256_cvtps_epi32(n)); }
  // p * 2^n, rounded once: in two steps, because 2^n alone may lie outside what a float holds.
  static F scaled(F p, F n) {
    const __m256i whole = _mm256_cvtps_epi32(n);
    const __m256i half = _mm256_srai_epi32(whole, 1);
    p = _mm256_mul_ps(p, power_of_two(half));
    return _mm256_mul_ps(p, power_of_two(_mm256_sub_epi32(whole, half)));
  }
  // y where x >= limit, else 0.
  static F where_at_least(F x, F limit, F y) {
    return _mm256_and_ps(_mm256_cmp_ps(x, limit, _CMP_GE_OQ), y);
  }

  static void transpose(F (&x)[kWidth]) {
    F pairs[8], quads[8];
    for (int i = 0; i < 8; i += 2) {
      pairs[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
      pairs[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
      quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
      quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
      quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {
      x[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
      x[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
  }

  // The larger magnitude, found among integers, so that a NaN is larger than any number.
  static F larger(F magnitude, F x) {
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(INT32_MAX));
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(magnitude), bits));
  }
  static float largest(F magnitudes) {
    const __m256i most = _mm256_castps_si256(magnitudes);
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtss_f32(_mm_castsi128_ps(four));
  }
  // Rounds x * factor to 32 integers and returns their sum; anything where there is a NaN.
  static int32_t store_rounded(int8_t* p, const F (&x)[4], F factor) {
    __m256i whole[4];
    LFM_UNROLL
    for (int i = 0; i < 4; ++i) whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], factor));
    const __m256i words_low = _mm256_packs_epi32(whole[0], whole[1]);
    const __m256i words_high = _mm256_packs_epi32(whole[2], whole[3]);
    // Packing works within halves; this restores the order.
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words_low, words_high),
                                                      _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bytes);
    return sum_of(_mm256_add_epi32(_mm256_add_epi32(whole[0], whole[1]),
                                   _mm256_add_epi32(whole[2], whole[3])));
  }

 private:
  static F power_of_two(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
  }
  static int32_t sum_of(__m256i x) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(four);
  }
};

}  // namespace
}  // namespace lfm
