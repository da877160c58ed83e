// What is done to activations between matrix products, NEON.
#include <arm_neon.h>

#include "functions.h"
#include "numerics.h"
#include "padded_group.h"

namespace lfm {
namespace {

constexpr int kParts = 8;  // of 4 floats

LFM_INLINE float32x4_t power_of_two(int32x4_t n) {
  return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

LFM_INLINE float32x4_t exponential(float32x4_t x) {
  x = vmaxq_f32(vdupq_n_f32(-kExpLimit), vminq_f32(vdupq_n_f32(kExpLimit), x));
  const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, kLog2E));
  float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(kLn2High));
  r = vfmsq_f32(r, n, vdupq_n_f32(kLn2Low));
  float32x4_t p = vdupq_n_f32(kExpPolynomial[0]);
  LFM_UNROLL
  for (int i = 1; i < 6; ++i) p = vfmaq_f32(vdupq_n_f32(kExpPolynomial[i]), p, r);
  p = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
  // In two steps, because 2^n alone may lie outside what a float holds.
  const int32x4_t whole = vcvtq_s32_f32(n);
  const int32x4_t half = vshrq_n_s32(whole, 1);
  p = vmulq_f32(p, power_of_two(half));
  return vmulq_f32(p, power_of_two(vsubq_s32(whole, half)));
}

LFM_INLINE float32x4_t swiglu(const float* gate, const float* up) {
  const float32x4_t g = vld1q_f32(gate);
  const float32x4_t denominator = vaddq_f32(vdupq_n_f32(1.0f), exponential(vnegq_f32(g)));
  return vmulq_f32(vdivq_f32(g, denominator), vld1q_f32(up));
}

/// The largest magnitude, found among integers, so that a NaN is larger than any number.
LFM_INLINE float largest(const float32x4_t (&x)[kParts]) {
  uint32x4_t most = vdupq_n_u32(0);
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) {
    most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(x[p])));
  }
  return vgetq_lane_f32(vreinterpretq_f32_u32(vdupq_n_u32(vmaxvq_u32(most))), 0);
}

LFM_INLINE void quantize_group(const float32x4_t (&x)[kParts], int64_t group, int64_t token,
                               const Rows& rows) {
  const float magnitude = largest(x);
  const bool zero = magnitude < kSmallestMagnitude;
  const float inverse = zero ? 0.0f : 127.0f / magnitude;
  int8_t* values = rows.int8_at(group, token);
  int32_t sum = 0;
  LFM_UNROLL
  for (int h = 0; h < 2; ++h) {
    int16x4_t words[4];
    LFM_UNROLL
    for (int p = 0; p < 4; ++p) {
      words[p] = vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(x[4 * h + p], inverse)));
    }
    const int8x16_t bytes = vcombine_s8(vqmovn_s16(vcombine_s16(words[0], words[1])),
                                        vqmovn_s16(vcombine_s16(words[2], words[3])));
    vst1q_s8(values + 16 * h, bytes);
    sum += vaddlvq_s8(bytes);
  }
  rows.scales[rows.index(group, token)] = zero ? 0.0f : magnitude / 127.0f;
  rows.offsets[rows.index(group, token)] = -8 * sum;
}

}  // namespace

void prepare_int8_neon(const float* x, ptrdiff_t stride, int64_t columns, int64_t first,
                       int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, x += stride) {
    for (int64_t g = 0; g < columns / kGroup; ++g) {
      float32x4_t parts[kParts];
      LFM_UNROLL
      for (int p = 0; p < kParts; ++p) parts[p] = vld1q_f32(x + g * kGroup + 4 * p);
      quantize_group(parts, g, first + t, rows);
    }
  }
}

void swiglu_int8_neon(const float* gate, const float* up, int64_t group, int64_t first,
                      int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, gate += kGroup, up += kGroup) {
    float32x4_t parts[kParts];
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) parts[p] = swiglu(gate + 4 * p, up + 4 * p);
    quantize_group(parts, group, first + t, rows);
  }
}

void swiglu_f32_neon(const float* gate, const float* up, int64_t group, int64_t first,
                     int64_t tokens, const Rows& rows) {
  float* inner = rows.float_at(group, first);
  for (int64_t i = 0; i < tokens * kGroup; i += 4) {
    vst1q_f32(inner + i, swiglu(gate + i, up + i));
  }
}

void dots_neon(const float* x, const float* w, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; ++r, w += columns) {
    float32x4_t sums[kParts];
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) sums[p] = vdupq_n_f32(0);
    for (int64_t k = 0; k < columns; k += 32) {
      const PaddedGroup inputs(x, k, columns), weights(w, k, columns);
      LFM_UNROLL
      for (int p = 0; p < kParts; ++p) {
        sums[p] =
            vfmaq_f32(sums[p], vld1q_f32(inputs.data + 4 * p), vld1q_f32(weights.data + 4 * p));
      }
    }
    for (int half = 4; half > 0; half /= 2) {
      for (int p = 0; p < half; ++p) sums[p] = vaddq_f32(sums[p], sums[p + half]);
    }
    const float32x2_t two = vadd_f32(vget_low_f32(sums[0]), vget_high_f32(sums[0]));
    out[r] = vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }
}

void add_scaled_neon(const float* in, float weight, float* out) {
  for (int r = 0; r < kBlockRows; r += 4) {
    vst1q_f32(out + r, vfmaq_n_f32(vld1q_f32(out + r), vld1q_f32(in + r), weight));
  }
}

}  // namespace lfm
