// Float weights x float activations, NEON: 32 rows are eight registers of sums.
#include <arm_neon.h>

#include "functions.h"

namespace lfm {
namespace {

constexpr int kParts = 8;  // of 4 rows

/// Adds one group of `Tokens` tokens to `out`.
template <int Tokens>
LFM_INLINE void add_group(const float* weights, const float* inputs, float* out,
                          ptrdiff_t out_stride) {
  float32x4_t sums[Tokens][kParts];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) sums[t][p] = vdupq_n_f32(0);
  }
  for (int k = 0; k < kGroup; ++k, weights += kBlockRows) {
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) {
      const float32x4_t part = vld1q_f32(weights + 4 * p);
      LFM_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        sums[t][p] = vfmaq_n_f32(sums[t][p], part, inputs[t * kGroup + k]);
      }
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) {
      float* sum = out + t * out_stride + 4 * p;
      vst1q_f32(sum, vaddq_f32(vld1q_f32(sum), sums[t][p]));
    }
  }
}

}  // namespace

void matmul_f32_neon(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                     int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int p = 0; p < kParts; ++p) vst1q_f32(out + t * out_stride + 4 * p, vdupq_n_f32(0));
  }
  const float* tile = reinterpret_cast<const float*>(block);
  for (int64_t g = 0; g < groups; ++g, tile += kGroup * kBlockRows) {
    int64_t t = 0;
    for (; t + 2 <= tokens; t += 2) {
      add_group<2>(tile, x.float_at(g, first + t), out + t * out_stride, out_stride);
    }
    if (t < tokens) {
      add_group<1>(tile, x.float_at(g, first + t), out + t * out_stride, out_stride);
    }
  }
}

}  // namespace lfm
