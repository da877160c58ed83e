// Weights of 4, 6 or 8 bits x int8 activations with NEON's `sdot`: 32 rows are eight registers of
// sums.
//
// A quarter is rows 4q to 4q + 3 and 16 + 4q to 16 + 4q + 3: 16 bytes of a line of 4 bits, or 16 of
// each of two lines of 8. A `Format` unpacks a quarter of a step, which is 4 inputs.
#pragma once

#include <arm_neon.h>

#include <utility>

#include "functions.h"
#include "numerics.h"
#include "tiles.h"

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

// Integers become floats by a subtraction, which more units do than conversions.
LFM_INLINE float32x4_t to_float(int32x4_t dots) {
  return vsubq_f32(vreinterpretq_f32_s32(dots), vdupq_n_f32(kOneFloat));
}

/// `fma(x, scale, sums)`. For `vfmaq_n_f32` GCC may copy the scale to all lanes first.
LFM_INLINE float32x4_t add_scaled(float32x4_t x, float scale, float32x4_t sums) {
  asm("fmla %0.4s, %1.4s, %2.s[0]" : "+w"(sums) : "w"(x), "w"(scale));
  return sums;
}

/// Four values in a register of their own, to be added to: copying a register would keep units from
/// the products.
template <class Vector, class Value>
LFM_INLINE Vector load_anew(const Value (&four)[4]) {
  Vector result;
  asm volatile("ldr %q0, %1" : "=w"(result) : "m"(four));
  return result;
}

/// What sums of integers start at: four times `value`.
struct Start {
  explicit LFM_INLINE Start(int32_t value) { vst1q_s32(values_, vdupq_n_s32(value)); }
  LFM_INLINE int32x4_t load() const { return load_anew<int32x4_t>(values_); }

 private:
  alignas(16) int32_t values_[4];
};

/// Scales of four sums, used for many tokens: one step converts and scales (see kOneFloat).
struct Scales {
  alignas(16) float values[4];
  alignas(16) float starts[4];  // times -kOneFloat

  LFM_INLINE void set(float32x4_t scales) {
    vst1q_f32(values, scales);
    vst1q_f32(starts, vmulq_n_f32(scales, -kOneFloat));
  }
  LFM_INLINE float32x4_t times(int32x4_t dots) const {
    return vfmaq_f32(load_anew<float32x4_t>(starts), vreinterpretq_f32_s32(dots),
                     vld1q_f32(values));
  }
};

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
void multiply_one(const uint8_t* block, const Rows& x, int64_t groups, int64_t token, float* out) {
  float32x4_t sums[kParts];
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) sums[p] = vdupq_n_f32(0);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t at = x.index(g, token);
    const Start start(kOneBits + Format::start(x.offsets[at]));
    int32x4_t dots[kParts];
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) dots[p] = start.load();
    add_steps<Format>(Format::weights(block, g), load_group(x.int8_at(g, token)), dots, Steps());
    LFM_UNROLL
    for (int p = 0; p < kParts; ++p) {
      const float32x4_t scales = load_scales(Format::scales(block, g), p);
      sums[p] = add_scaled(vmulq_f32(to_float(dots[p]), scales), x.scales[at], sums[p]);
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

constexpr int kChunk = 8;  // groups whose weights are unpacked at once: whole tiles

/// A quarter of the weights of some groups, signed, and their scales.
struct Quarter {
  alignas(16) int8_t weights[kChunk][kSteps][2][16];
  Scales scales[kChunk][2];
};

template <class Format>
LFM_INLINE void unpack(const uint8_t* tiles, int64_t groups, int quarter, Quarter& into) {
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* tile = Format::weights(tiles, g);
    LFM_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const Pair pair = Format::load_signed(tile, s, quarter);
      vst1q_s8(into.weights[g][s][0], pair.low);
      vst1q_s8(into.weights[g][s][1], pair.high);
    }
    for (int h = 0; h < 2; ++h) {
      into.scales[g][h].set(load_scales(Format::scales(tiles, g), kQuarters * h + quarter));
    }
  }
}

template <int kStep, int Tokens>
LFM_INLINE void add_pairs(const int8_t (&weights)[kSteps][2][16],
                          const int8x16x2_t (&inputs)[Tokens], int32x4_t (&dots)[Tokens][2]) {
  LFM_UNROLL
  for (int h = 0; h < 2; ++h) {
    const int8x16_t part = vld1q_s8(weights[kStep][h]);
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) dots[t][h] = dot<kStep>(dots[t][h], part, inputs[t]);
  }
}

template <int Tokens, int... kStep>
LFM_INLINE void add_all_pairs(const int8_t (&weights)[kSteps][2][16],
                              const int8x16x2_t (&inputs)[Tokens], int32x4_t (&dots)[Tokens][2],
                              std::integer_sequence<int, kStep...>) {
  (add_pairs<kStep>(weights, inputs, dots), ...);
}

/// Adds some groups of a quarter to the sums of `Tokens` tokens; `out` is the quarter's part.
template <int Tokens>
LFM_INLINE void add_quarter(const Quarter& quarter, const Rows& x, int64_t group, int64_t groups,
                            int64_t first, float* out, ptrdiff_t out_stride) {
  const Start start(kOneBits);
  float32x4_t sums[Tokens][2];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int h = 0; h < 2; ++h) sums[t][h] = vld1q_f32(out + t * out_stride + 16 * h);
  }
  for (int64_t g = 0; g < groups; ++g) {
    int8x16x2_t inputs[Tokens];
    int32x4_t dots[Tokens][2];
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      inputs[t] = load_group(x.int8_at(group + g, first + t));
      dots[t][0] = start.load();
      dots[t][1] = start.load();
    }
    add_all_pairs(quarter.weights[g], inputs, dots, Steps());
    const float* scales = x.scales + x.index(group + g, first);
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      LFM_UNROLL
      for (int h = 0; h < 2; ++h) {
        sums[t][h] = add_scaled(quarter.scales[g][h].times(dots[t][h]), scales[t], sums[t][h]);
      }
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int h = 0; h < 2; ++h) vst1q_f32(out + t * out_stride + 16 * h, sums[t][h]);
  }
}

/// Weights of a quarter of a few groups are unpacked, then all tokens pass, four at a time.
template <class Format>
void multiply_many(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                   int64_t tokens, float* out, ptrdiff_t out_stride) {
  clear(out, tokens, out_stride);
  Quarter quarter;
  for (int64_t g = 0; g < groups; g += kChunk) {
    const uint8_t* tiles = Format::weights(block, g);
    const int64_t count = groups - g < kChunk ? groups - g : kChunk;
    for (int q = 0; q < kQuarters; ++q) {
      unpack<Format>(tiles, count, q, quarter);
      float* sums = out + 4 * q;
      int64_t t = 0;
      for (; t + 4 <= tokens; t += 4) {
        add_quarter<4>(quarter, x, g, count, first + t, sums + t * out_stride, out_stride);
      }
      for (; t < tokens; ++t) {
        add_quarter<1>(quarter, x, g, count, first + t, sums + t * out_stride, out_stride);
      }
    }
  }
}

}  // namespace
}  // namespace lfm
