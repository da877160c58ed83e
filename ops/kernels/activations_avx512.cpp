// What is done to activations between matrix products, AVX512.
#include <immintrin.h>

#include "functions.h"
#include "numerics.h"
#include "padded_group.h"

namespace lfm {
namespace {

LFM_INLINE __m512 exponential(__m512 x) {
  const __m512 limit = _mm512_set1_ps(kExpLimit);
  // In this order NaN passes.
  x = _mm512_max_ps(_mm512_sub_ps(_mm512_setzero_ps(), limit), _mm512_min_ps(limit, x));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(kLog2E)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kLn2High), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(kLn2Low), r);
  __m512 p = _mm512_set1_ps(kExpPolynomial[0]);
  LFM_UNROLL
  for (int i = 1; i < 6; ++i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpPolynomial[i]));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

LFM_INLINE __m512 swiglu(const float* gate, const float* up) {
  const __m512 g = _mm512_loadu_ps(gate);
  const __m512 minus =
      _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(g), _mm512_set1_epi32(INT32_MIN)));
  const __m512 denominator = _mm512_add_ps(_mm512_set1_ps(1.0f), exponential(minus));
  return _mm512_mul_ps(_mm512_div_ps(g, denominator), _mm512_loadu_ps(up));
}

LFM_INLINE void quantize_group(__m512 low, __m512 high, int64_t group, int64_t token,
                               const Rows& rows) {
  const __m512i magnitude_bits = _mm512_set1_epi32(INT32_MAX);
  // As integers, so that a NaN is larger than any number.
  const __m512i most =
      _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude_bits),
                       _mm512_and_si512(_mm512_castps_si512(high), magnitude_bits));
  const float magnitude =
      _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epu32(most))));
  const bool zero = magnitude < kSmallestMagnitude;
  const __m512 inverse = _mm512_set1_ps(zero ? 0.0f : 127.0f / magnitude);
  const __m512i least = _mm512_set1_epi32(-128);  // what is not a number would be far less
  const __m512i a = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)), least);
  const __m512i b = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(high, inverse)), least);
  __m128i* values = reinterpret_cast<__m128i*>(rows.int8_at(group, token));
  _mm_storeu_si128(values, _mm512_cvtsepi32_epi8(a));
  _mm_storeu_si128(values + 1, _mm512_cvtsepi32_epi8(b));
  const int64_t at = rows.index(group, token);
  rows.scales[at] = zero ? 0.0f : magnitude / 127.0f;
  rows.offsets[at] = -8 * _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
}

}  // namespace

void prepare_int8_avx512(const float* x, ptrdiff_t stride, int64_t columns, int64_t first,
                         int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, x += stride) {
    for (int64_t g = 0; g < columns / kGroup; ++g) {
      quantize_group(_mm512_loadu_ps(x + g * kGroup), _mm512_loadu_ps(x + g * kGroup + 16), g,
                     first + t, rows);
    }
  }
}

void swiglu_int8_avx512(const float* gate, const float* up, int64_t group, int64_t first,
                        int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, gate += kGroup, up += kGroup) {
    quantize_group(swiglu(gate, up), swiglu(gate + 16, up + 16), group, first + t, rows);
  }
}

void swiglu_f32_avx512(const float* gate, const float* up, int64_t group, int64_t first,
                       int64_t tokens, const Rows& rows) {
  float* inner = rows.float_at(group, first);
  for (int64_t i = 0; i < tokens * kGroup; i += 16) {
    _mm512_storeu_ps(inner + i, swiglu(gate + i, up + i));
  }
}

void dots_avx512(const float* x, const float* w, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; ++r, w += columns) {
    __m512 low = _mm512_setzero_ps();
    __m512 high = _mm512_setzero_ps();
    for (int64_t i = 0; i < columns; i += 32) {
      const PaddedGroup inputs(x, i, columns), weights(w, i, columns);
      low = _mm512_fmadd_ps(_mm512_loadu_ps(inputs.data), _mm512_loadu_ps(weights.data), low);
      high = _mm512_fmadd_ps(_mm512_loadu_ps(inputs.data + 16), _mm512_loadu_ps(weights.data + 16),
                             high);
    }
    const __m512 sums = _mm512_add_ps(low, high);
    const __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps(sums, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    out[r] = _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }
}

void add_scaled_avx512(const float* in, float weight, float* out) {
  const __m512 w = _mm512_set1_ps(weight);
  _mm512_storeu_ps(out, _mm512_fmadd_ps(w, _mm512_loadu_ps(in), _mm512_loadu_ps(out)));
  _mm512_storeu_ps(out + 16,
                   _mm512_fmadd_ps(w, _mm512_loadu_ps(in + 16), _mm512_loadu_ps(out + 16)));
}

}  // namespace lfm
