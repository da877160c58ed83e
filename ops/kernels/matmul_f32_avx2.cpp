// Float weights x float activations, AVX2: 32 rows are four registers of sums.
#include <immintrin.h>

#include "functions.h"

namespace lfm {
namespace {

constexpr int kParts = 4;  // of 8 rows

/// Adds one group of `Tokens` tokens to `out`.
template <int Tokens>
LFM_INLINE void add_group(const float* weights, const float* inputs, float* out,
                          ptrdiff_t out_stride) {
  __m256 sums[Tokens][kParts];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) sums[t][i] = _mm256_setzero_ps();
  }
  for (int k = 0; k < kGroup; ++k, weights += kBlockRows) {
    __m256 input[Tokens];
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) input[t] = _mm256_broadcast_ss(inputs + t * kGroup + k);
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) {
      const __m256 part = _mm256_loadu_ps(weights + 8 * i);
      LFM_UNROLL
      for (int t = 0; t < Tokens; ++t) sums[t][i] = _mm256_fmadd_ps(input[t], part, sums[t][i]);
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) {
      float* sum = out + t * out_stride + 8 * i;
      _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), sums[t][i]));
    }
  }
}

}  // namespace

void matmul_f32_avx2(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                     int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int i = 0; i < kParts; ++i) {
      _mm256_storeu_ps(out + t * out_stride + 8 * i, _mm256_setzero_ps());
    }
  }
  const float* tile = reinterpret_cast<const float*>(block);
  for (int64_t g = 0; g < groups; ++g, tile += kGroup * kBlockRows) {
    int64_t t = 0;
    for (; t + 3 <= tokens; t += 3) {
      add_group<3>(tile, x.float_at(g, first + t), out + t * out_stride, out_stride);
    }
    for (; t < tokens; ++t) {
      add_group<1>(tile, x.float_at(g, first + t), out + t * out_stride, out_stride);
    }
  }
}

}  // namespace lfm
