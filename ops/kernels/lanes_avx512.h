// 16 floats at a time, AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "compiler.h"

namespace lfm {
namespace {

struct Lanes {
  using F = __m512;
  static constexpr int kWidth = 16;
  static constexpr int kTileRows = 6;  // of a matrix product, with kTileVectors columns of F
  static constexpr int kTileVectors = 4;

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static F load(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static F load(const int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
  static void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static void store(uint16_t* p, F x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F fused(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F negate(F x) {
    return _mm512_castsi512_ps(
        _mm512_xor_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MIN)));
  }
  // A NaN as the second passes.
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F round(F x) {
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // 2^n of whole n from -126 to 127.
  static F power_of_two(F n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
  }
  // p * 2^n, rounded once.
  static F scaled(F p, F n) { return _mm512_scalef_ps(p, n); }
  // y where x >= limit, else 0.
  static F where_at_least(F x, F limit, F y) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), y);
  }

  static void transpose(F (&x)[kWidth]) {
    for (int i = 0; i < 16; i += 2) swap_pairs(x[i], x[i + 1]);
    for (int i = 0; i < 16; i += 4) {
      swap_quads(x[i], x[i + 2]);
      swap_quads(x[i + 1], x[i + 3]);
    }
    for (int i = 0; i < 16; i += 8) {
      for (int j = 0; j < 4; ++j) swap_eights(x[i + j], x[i + j + 4]);
    }
    for (int j = 0; j < 8; ++j) swap_halves(x[j], x[j + 8]);
  }

  // The larger magnitude, found among integers, so that a NaN is larger than any number.
  static F larger(F magnitude, F x) {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MAX));
    return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(magnitude), bits));
  }
  static float largest(F magnitudes) {
    const uint32_t most = _mm512_reduce_max_epu32(_mm512_castps_si512(magnitudes));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(most))));
  }
  // Rounds x * factor to 32 integers and returns their sum.
  static int32_t store_rounded(int8_t* p, const F (&x)[2], F factor) {
    const __m512i least = _mm512_set1_epi32(-128);  // what is not a number would be far less
    const __m512i a = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(x[0], factor)), least);
    const __m512i b = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(x[1], factor)), least);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p) + 1, _mm512_cvtsepi32_epi8(b));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
  }

 private:
  // Each exchanges the odd parts of `a` with the even parts of `b`, parts of 1, 2, 4, 8 floats.
  static void swap_pairs(F& a, F& b) {
    const F low = _mm512_mask_permute_ps(a, 0xAAAA, b, 0xA0);
    b = _mm512_mask_permute_ps(b, 0x5555, a, 0xF5);
    a = low;
  }
  static void swap_quads(F& a, F& b) {
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    a = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
    b = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
  }
  static void swap_eights(F& a, F& b) {
    const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    a = _mm512_castpd_ps(_mm512_permutex2var_pd(x, even, y));
    b = _mm512_castpd_ps(_mm512_permutex2var_pd(x, odd, y));
  }
  static void swap_halves(F& a, F& b) {
    const F low = _mm512_shuffle_f32x4(a, b, 0x44);
    b = _mm512_shuffle_f32x4(a, b, 0xEE);
    a = low;
  }
};

}  // namespace
}  // namespace lfm
