// Weights of 4 or 8 bits x int8 activations with NEON's `sdot`: 32 rows are eight registers of
// sums.
//
// A quarter is rows 4q to 4q + 3 and 16 + 4q to 16 + 4q + 3: 16 bytes of a line of 4 bits, or 16 of
// each of two lines of 8. A `Format` unpacks a quarter of a step, which is 4 inputs.
#pragma once

#include <arm_neon.h>

#include <utility>

#include "functions.h"

namespace lfm {
namespace {

constexpr int kSteps = 8;
constexpr int kQuarters = 4;
constexpr int kParts = 8;  // of 4 rows: the low ones of all quarters, then the high ones

using Steps = std::make_integer_sequence<int, kSteps>;

struct Pair {
  int8x16_t low;   // rows of the first 16
  int8x16_t high;  // rows of the last 16
};

LFM_INLINE float32x4_t load_scales(const uint8_t* scales, int part) {
  const uint8x8_t bytes = vld1_u8(scales + 8 * part);
  return vcvt_f32_f16(vreinterpret_f16_u8(bytes));
}

LFM_INLINE float32x4_t add_product(int32x4_t dots, float32x4_t scales, float32x4_t sums) {
  return vfmaq_f32(sums, vcvtq_f32_s32(dots), scales);
}

/// Dot products of input 4 * kStep and the next three with 4 rows.
template <int kStep>
LFM_INLINE int32x4_t dot(int32x4_t dots, int8x16_t weights, const int8x16x2_t& inputs) {
  return vdotq_laneq_s32(dots, weights, inputs.val[kStep / 4], kStep % 4);
}

template <class Format, int kStep>
LFM_INLINE void add_step(const uint8_t* tile, const int8x16x2_t& inputs,
                         int32x4_t (&dots)[kParts]) {
  LFM_UNROLL
  for (int q = 0; q < kQuarters; ++q) {
    const Pair weights = Format::load(tile, kStep, q);
    dots[q] = dot<kStep>(dots[q], weights.low, inputs);
    dots[kQuarters + q] = dot<kStep>(dots[kQuarters + q], weights.high, inputs);
  }
}

template <class Format, int... kStep>
LFM_INLINE void add_steps(const uint8_t* tile, const int8x16x2_t& inputs, int32x4_t (&dots)[kParts],
                          std::integer_sequence<int, kStep...>) {
  (add_step<Format, kStep>(tile, inputs, dots), ...);
}

LFM_INLINE int8x16x2_t load_group(const int8_t* x) { return {{vld1q_s8(x), vld1q_s8(x + 16)}}; }

/// One token: sums stay in registers from the first group to the last.
template <class Format>
void multiply_one(const uint8_t* tile, const Rows& x, int64_t groups, int64_t token, float* out) {
  float32x4_t sums[kParts];
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) sums[p] = vdupq_n_f32(0);
  for (int64_t g = 0; g < groups; ++g, tile += Format::kTileBytes) {
    const int64_t at = x.index(g, token);
    int32x4_t dots[kParts];
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) dots[p] = Format::start(x.offsets[at]);
    add_steps<Format>(tile, load_group(x.int8_at(g, token)), dots, Steps());
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) {
      const float32x4_t scales = load_scales(tile + Format::kScalesAt, p);
      sums[p] = add_product(dots[p], vmulq_n_f32(scales, x.scales[at]), sums[p]);
    }
  }
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) vst1q_f32(out + 4 * p, sums[p]);
}

LFM_INLINE void clear(float* out, int64_t tokens, ptrdiff_t out_stride) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int p = 0; p < kParts; ++p) vst1q_f32(out + t * out_stride + 4 * p, vdupq_n_f32(0));
  }
}

template <int... kStep>
LFM_INLINE void dot_all(const Pair (&weights)[kSteps], const int8x16x2_t& inputs, int32x4_t& low,
                        int32x4_t& high, std::integer_sequence<int, kStep...>) {
  ((low = dot<kStep>(low, weights[kStep].low, inputs),
    high = dot<kStep>(high, weights[kStep].high, inputs)),
   ...);
}

/// A quarter of one group, its signed weights in registers, for one token; `out` is its part.
LFM_INLINE void add_quarter(const Pair (&weights)[kSteps], const float32x4_t (&scales)[2],
                            const int8_t* inputs, float scale, float* out) {
  int32x4_t low = vdupq_n_s32(0);
  int32x4_t high = vdupq_n_s32(0);
  dot_all(weights, load_group(inputs), low, high, Steps());
  vst1q_f32(out, add_product(low, vmulq_n_f32(scales[0], scale), vld1q_f32(out)));
  vst1q_f32(out + 16, add_product(high, vmulq_n_f32(scales[1], scale), vld1q_f32(out + 16)));
}

/// A quarter of the unpacked weights stays in registers while all tokens pass; sums lie in `out`.
template <class Format>
void multiply_many(const uint8_t* tile, const Rows& x, int64_t groups, int64_t first,
                   int64_t tokens, float* out, ptrdiff_t out_stride) {
  clear(out, tokens, out_stride);
  for (int64_t g = 0; g < groups; ++g, tile += Format::kTileBytes) {
    const int8_t* inputs = x.int8_at(g, first);
    const float* input_scales = x.scales + x.index(g, first);
    for (int q = 0; q < kQuarters; ++q) {
      Pair weights[kSteps];
      LFM_UNROLL
      for (int s = 0; s < kSteps; ++s) weights[s] = Format::load_signed(tile, s, q);
      const uint8_t* half = tile + Format::kScalesAt;
      const float32x4_t scales[2] = {load_scales(half, q), load_scales(half, kQuarters + q)};
      float* sums = out + 4 * q;
      for (int64_t t = 0; t < tokens; ++t) {
        add_quarter(weights, scales, inputs + t * kGroup, input_scales[t], sums + t * out_stride);
      }
    }
  }
}

}  // namespace
}  // namespace lfm
