// What is done to activations between matrix products, AVX2.
#include <immintrin.h>

#include "functions.h"
#include "numerics.h"
#include "padded_group.h"

namespace lfm {
namespace {

constexpr int kParts = 4;  // of 8 floats

LFM_INLINE __m256 power_of_two(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

LFM_INLINE __m256 exponential(__m256 x) {
  // In this order NaN passes.
  x = _mm256_max_ps(_mm256_set1_ps(-kExpLimit), _mm256_min_ps(_mm256_set1_ps(kExpLimit), x));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(kLog2E)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2High), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(kLn2Low), r);
  __m256 p = _mm256_set1_ps(kExpPolynomial[0]);
  LFM_UNROLL
  for (int i = 1; i < 6; ++i) p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpPolynomial[i]));
  p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
  // In two steps, because 2^n alone may lie outside what a float holds.
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  p = _mm256_mul_ps(p, power_of_two(half));
  return _mm256_mul_ps(p, power_of_two(_mm256_sub_epi32(whole, half)));
}

LFM_INLINE __m256 swiglu(const float* gate, const float* up) {
  const __m256 g = _mm256_loadu_ps(gate);
  const __m256 minus = _mm256_xor_ps(g, _mm256_set1_ps(-0.0f));
  const __m256 denominator = _mm256_add_ps(_mm256_set1_ps(1.0f), exponential(minus));
  return _mm256_mul_ps(_mm256_div_ps(g, denominator), _mm256_loadu_ps(up));
}

/// The largest magnitude, found among integers, so that a NaN is larger than any number.
LFM_INLINE float largest(const __m256 (&x)[kParts]) {
  const __m256i magnitude = _mm256_set1_epi32(INT32_MAX);
  __m256i most = _mm256_setzero_si256();
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) {
    most = _mm256_max_epu32(most, _mm256_and_si256(_mm256_castps_si256(x[i]), magnitude));
  }
  __m128i four = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1)));
  return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

LFM_INLINE int32_t sum_of(__m256i x) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1)));
  return _mm_cvtsi128_si32(four);
}

LFM_INLINE void quantize_group(const __m256 (&x)[kParts], int64_t group, int64_t token,
                               const Rows& rows) {
  const float magnitude = largest(x);
  const bool zero = magnitude < kSmallestMagnitude;
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 127.0f / magnitude);
  __m256i whole[kParts];
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) whole[i] = _mm256_cvtps_epi32(_mm256_mul_ps(x[i], inverse));
  const __m256i words_low = _mm256_packs_epi32(whole[0], whole[1]);
  const __m256i words_high = _mm256_packs_epi32(whole[2], whole[3]);
  // Packing works within halves; this restores the order.
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words_low, words_high),
                                                    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows.int8_at(group, token)), bytes);
  const int64_t at = rows.index(group, token);
  rows.scales[at] = zero ? 0.0f : magnitude / 127.0f;
  const __m256i sums =
      _mm256_add_epi32(_mm256_add_epi32(whole[0], whole[1]), _mm256_add_epi32(whole[2], whole[3]));
  const int32_t sum = sum_of(sums);  // anything with a NaN
  rows.offsets[at] = static_cast<int32_t>(-8u * static_cast<uint32_t>(sum));
}

}  // namespace

void prepare_int8_avx2(const float* x, ptrdiff_t stride, int64_t columns, int64_t first,
                       int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, x += stride) {
    for (int64_t g = 0; g < columns / kGroup; ++g) {
      __m256 parts[kParts];
      LFM_UNROLL
      for (int i = 0; i < kParts; ++i) parts[i] = _mm256_loadu_ps(x + g * kGroup + 8 * i);
      quantize_group(parts, g, first + t, rows);
    }
  }
}

void swiglu_int8_avx2(const float* gate, const float* up, int64_t group, int64_t first,
                      int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, gate += kGroup, up += kGroup) {
    __m256 parts[kParts];
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) parts[i] = swiglu(gate + 8 * i, up + 8 * i);
    quantize_group(parts, group, first + t, rows);
  }
}

void swiglu_f32_avx2(const float* gate, const float* up, int64_t group, int64_t first,
                     int64_t tokens, const Rows& rows) {
  float* inner = rows.float_at(group, first);
  for (int64_t i = 0; i < tokens * kGroup; i += 8) {
    _mm256_storeu_ps(inner + i, swiglu(gate + i, up + i));
  }
}

void dots_avx2(const float* x, const float* w, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; ++r, w += columns) {
    __m256 sums[kParts];
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) sums[i] = _mm256_setzero_ps();
    for (int64_t k = 0; k < columns; k += 32) {
      const PaddedGroup inputs(x, k, columns), weights(w, k, columns);
      LFM_UNROLL
      for (int i = 0; i < kParts; ++i) {
        sums[i] = _mm256_fmadd_ps(_mm256_loadu_ps(inputs.data + 8 * i),
                                  _mm256_loadu_ps(weights.data + 8 * i), sums[i]);
      }
    }
    const __m256 eight =
        _mm256_add_ps(_mm256_add_ps(sums[0], sums[2]), _mm256_add_ps(sums[1], sums[3]));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    out[r] = _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
}

void add_scaled_avx2(const float* in, float weight, float* out) {
  const __m256 w = _mm256_set1_ps(weight);
  for (int i = 0; i < kBlockRows; i += 8) {
    _mm256_storeu_ps(out + i,
                     _mm256_fmadd_ps(w, _mm256_loadu_ps(in + i), _mm256_loadu_ps(out + i)));
  }
}

}  // namespace lfm
