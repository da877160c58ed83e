// Weights of 4 or 8 bits x int8 activations with NEON's `smmla`, two tokens x two rows at a time.
//
// Sums of a pair of tokens lie mixed in `out`, as `smmla` makes them, and are sorted at the end:
// where token 0 has rows r .. r + 3 there are rows r and r + 1 of both, and rows r + 2 and r + 3
// of both lie with token 1.
#pragma once

#include "formats_neon.h"

namespace lfm {
namespace {

constexpr int64_t kMostTokens = 128;  // whose activations of a group are mixed at once
constexpr int kWides = 4;             // of 8 inputs in a group

/// The activations of a group, in pairs of tokens.
struct Mixed {
  alignas(16) int8_t values[kMostTokens / 2][kWides][16];  // 8 inputs of both tokens
  alignas(16) float scales[kMostTokens / 2][4];            // each twice
};

LFM_INLINE int8x16_t zip_low(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

LFM_INLINE int8x16_t zip_high(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

LFM_INLINE void mix(const int8_t* inputs, const float* scales, int64_t pairs, Mixed& mixed) {
  for (int64_t i = 0; i < pairs; ++i, inputs += 2 * kGroup) {
    LFM_UNROLL
    for (int h = 0; h < 2; ++h) {
      const int8x16_t first = vld1q_s8(inputs + 16 * h);
      const int8x16_t second = vld1q_s8(inputs + kGroup + 16 * h);
      vst1q_s8(mixed.values[i][2 * h], zip_low(first, second));
      vst1q_s8(mixed.values[i][2 * h + 1], zip_high(first, second));
    }
    const float32x2_t two = vld1_f32(scales + 2 * i);
    vst1q_f32(mixed.scales[i], vcombine_f32(vdup_lane_f32(two, 0), vdup_lane_f32(two, 1)));
  }
}

/// Signed weights of a quarter: [8 inputs][rows 0 and 1, 2 and 3, 16 and 17, 18 and 19].
struct Quarter {
  int8x16_t weights[kWides][4];
  float32x4_t scales[4];
};

template <class Format>
LFM_INLINE Quarter load_quarter(const uint8_t* tile, int quarter) {
  Quarter result;
  LFM_UNROLL
  for (int k = 0; k < kWides; ++k) {
    const Pair even = Format::load_signed(tile, 2 * k, quarter);
    const Pair odd = Format::load_signed(tile, 2 * k + 1, quarter);
    const int32x4_t low[2] = {vreinterpretq_s32_s8(even.low), vreinterpretq_s32_s8(odd.low)};
    const int32x4_t high[2] = {vreinterpretq_s32_s8(even.high), vreinterpretq_s32_s8(odd.high)};
    result.weights[k][0] = vreinterpretq_s8_s32(vzip1q_s32(low[0], low[1]));
    result.weights[k][1] = vreinterpretq_s8_s32(vzip2q_s32(low[0], low[1]));
    result.weights[k][2] = vreinterpretq_s8_s32(vzip1q_s32(high[0], high[1]));
    result.weights[k][3] = vreinterpretq_s8_s32(vzip2q_s32(high[0], high[1]));
  }
  LFM_UNROLL
  for (int h = 0; h < 2; ++h) {
    const float32x4_t four = load_scales(tile + Format::kScalesAt, kQuarters * h + quarter);
    result.scales[2 * h] = vcombine_f32(vget_low_f32(four), vget_low_f32(four));
    result.scales[2 * h + 1] = vcombine_f32(vget_high_f32(four), vget_high_f32(four));
  }
  return result;
}

/// Two tokens of a quarter; `first` and `second` are their parts of `out`.
LFM_INLINE void add_pair(const Quarter& quarter, const int8_t (&inputs)[kWides][16],
                         const float* scales, float* first, float* second) {
  int32x4_t dots[4];
  LFM_UNROLL
  for (int r = 0; r < 4; ++r) dots[r] = vdupq_n_s32(0);
  LFM_UNROLL
  for (int k = 0; k < kWides; ++k) {
    const int8x16_t input = vld1q_s8(inputs[k]);
    LFM_UNROLL
    for (int r = 0; r < 4; ++r) dots[r] = vmmlaq_s32(dots[r], input, quarter.weights[k][r]);
  }
  const float32x4_t scale = vld1q_f32(scales);
  LFM_UNROLL
  for (int r = 0; r < 4; ++r) {
    float* sums = (r % 2 == 0 ? first : second) + r / 2 * 16;
    vst1q_f32(sums, add_product(dots[r], vmulq_f32(quarter.scales[r], scale), vld1q_f32(sums)));
  }
}

LFM_INLINE void sort(float* out, int64_t pairs, ptrdiff_t out_stride) {
  for (int64_t i = 0; i < pairs; ++i, out += 2 * out_stride) {
    for (int r = 0; r < kBlockRows; r += 4) {
      const float64x2_t a = vreinterpretq_f64_f32(vld1q_f32(out + r));
      const float64x2_t b = vreinterpretq_f64_f32(vld1q_f32(out + out_stride + r));
      vst1q_f32(out + r, vreinterpretq_f32_f64(vzip1q_f64(a, b)));
      vst1q_f32(out + out_stride + r, vreinterpretq_f32_f64(vzip2q_f64(a, b)));
    }
  }
}

template <class Format>
void multiply_pairs(const uint8_t* tile, const Rows& x, int64_t groups, int64_t first,
                    int64_t pairs, float* out, ptrdiff_t out_stride) {
  clear(out, 2 * pairs, out_stride);
  Mixed mixed;
  for (int64_t g = 0; g < groups; ++g, tile += Format::kTileBytes) {
    mix(x.int8_at(g, first), x.scales + x.index(g, first), pairs, mixed);
    for (int q = 0; q < kQuarters; ++q) {
      const Quarter quarter = load_quarter<Format>(tile, q);
      float* sums = out + 4 * q;
      for (int64_t i = 0; i < pairs; ++i, sums += 2 * out_stride) {
        add_pair(quarter, mixed.values[i], mixed.scales[i], sums, sums + out_stride);
      }
    }
  }
  sort(out, pairs, out_stride);
}

/// The tokens that make pairs; returns how many that are.
template <class Format>
LFM_INLINE int64_t multiply_even(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                                 int64_t tokens, float* out, ptrdiff_t out_stride) {
  const int64_t even = tokens / 2 * 2;
  for (int64_t t = 0; t < even; t += kMostTokens) {
    const int64_t count = even - t < kMostTokens ? even - t : kMostTokens;
    multiply_pairs<Format>(block, x, groups, first + t, count / 2, out + t * out_stride,
                           out_stride);
  }
  return even;
}

}  // namespace
}  // namespace lfm
