// Float weights x float activations, AVX512: 32 rows are two registers of sums.
#include <immintrin.h>

#include "functions.h"

namespace lfm {
namespace {

/// Adds one group of `Tokens` tokens to `out`.
template <int Tokens>
LFM_INLINE void add_group(const float* weights, const float* inputs, float* out,
                          ptrdiff_t out_stride) {
  __m512 sums[Tokens][2];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) sums[t][0] = sums[t][1] = _mm512_setzero_ps();
  for (int i = 0; i < kGroup; ++i, weights += kBlockRows) {
    const __m512 low = _mm512_loadu_ps(weights);
    const __m512 high = _mm512_loadu_ps(weights + 16);
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      const __m512 input = _mm512_set1_ps(inputs[t * kGroup + i]);
      sums[t][0] = _mm512_fmadd_ps(input, low, sums[t][0]);
      sums[t][1] = _mm512_fmadd_ps(input, high, sums[t][1]);
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    float* sum = out + t * out_stride;
    _mm512_storeu_ps(sum, _mm512_add_ps(_mm512_loadu_ps(sum), sums[t][0]));
    _mm512_storeu_ps(sum + 16, _mm512_add_ps(_mm512_loadu_ps(sum + 16), sums[t][1]));
  }
}

}  // namespace

void matmul_f32_avx512(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                       int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  for (int64_t t = 0; t < tokens; ++t) {
    _mm512_storeu_ps(out + t * out_stride, _mm512_setzero_ps());
    _mm512_storeu_ps(out + t * out_stride + 16, _mm512_setzero_ps());
  }
  const float* tile = reinterpret_cast<const float*>(block);
  for (int64_t g = 0; g < groups; ++g, tile += kGroup * kBlockRows) {
    int64_t t = 0;
    for (; t + 8 <= tokens; t += 8) {
      add_group<8>(tile, x.float_at(g, first + t), out + t * out_stride, out_stride);
    }
    for (; t + 2 <= tokens; t += 2) {
      add_group<2>(tile, x.float_at(g, first + t), out + t * out_stride, out_stride);
    }
    if (t < tokens) {
      add_group<1>(tile, x.float_at(g, first + t), out + t * out_stride, out_stride);
    }
  }
}

}  // namespace lfm
