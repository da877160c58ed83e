// Weights of 4, 6 or 8 bits x int8 activations with NEON's `smmla`, two tokens x two rows at a
// time.
//
// Sums of a pair of tokens lie mixed in `out`, as `smmla` makes them, and are sorted at the end:
// where token 0 has rows r .. r + 3 there are rows r and r + 1 of both, and rows r + 2 and r + 3
// of both lie with token 1.
#pragma once

#include "formats_neon.h"

namespace lfm {
namespace {

constexpr int64_t kMostTokens = 128;  // whose activations are mixed at once
constexpr int kFewGroups = 4;         // that are mixed and unpacked at once: whole tiles
constexpr int kWides = 4;             // of 8 inputs in a group

/// The activations of some groups, in pairs of tokens.
struct Mixed {
  alignas(16) int8_t values[kFewGroups][kMostTokens / 2][kWides][16];  // 8 inputs of both tokens
  alignas(16) float scales[kFewGroups][kMostTokens / 2][4];            // each twice
};

/// Signed weights of a quarter: [8 inputs][rows 0 and 1, 2 and 3, 16 and 17, 18 and 19].
struct WideQuarter {
  alignas(16) int8_t weights[kFewGroups][kWides][4][16];
  Scales scales[kFewGroups][4];
};

LFM_INLINE int8x16_t zip_low(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

LFM_INLINE int8x16_t zip_high(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

LFM_INLINE void mix(const Rows& x, int64_t group, int64_t groups, int64_t first, int64_t pairs,
                    Mixed& mixed) {
  for (int64_t g = 0; g < groups; ++g) {
    const int8_t* inputs = x.int8_at(group + g, first);
    const float* scales = x.scales + x.index(group + g, first);
    for (int64_t i = 0; i < pairs; ++i, inputs += 2 * kGroup, scales += 2) {
      LFM_UNROLL
      for (int h = 0; h < 2; ++h) {
        const int8x16_t even = vld1q_s8(inputs + 16 * h);
        const int8x16_t odd = vld1q_s8(inputs + kGroup + 16 * h);
        vst1q_s8(mixed.values[g][i][2 * h], zip_low(even, odd));
        vst1q_s8(mixed.values[g][i][2 * h + 1], zip_high(even, odd));
      }
      vst1q_f32(mixed.scales[g][i], vcombine_f32(vdup_n_f32(scales[0]), vdup_n_f32(scales[1])));
    }
  }
}

LFM_INLINE void store_zipped(int8x16_t even, int8x16_t odd, int8_t (&low)[16], int8_t (&high)[16]) {
  const int32x4_t a = vreinterpretq_s32_s8(even);
  const int32x4_t b = vreinterpretq_s32_s8(odd);
  vst1q_s8(low, vreinterpretq_s8_s32(vzip1q_s32(a, b)));
  vst1q_s8(high, vreinterpretq_s8_s32(vzip2q_s32(a, b)));
}

template <class Format>
LFM_INLINE void unpack_wide(const uint8_t* tiles, int64_t groups, int quarter, WideQuarter& into) {
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* tile = Format::weights(tiles, g);
    LFM_UNROLL
    for (int k = 0; k < kWides; ++k) {
      const Pair even = Format::load_signed(tile, 2 * k, quarter);
      const Pair odd = Format::load_signed(tile, 2 * k + 1, quarter);
      auto& weights = into.weights[g][k];
      store_zipped(even.low, odd.low, weights[0], weights[1]);
      store_zipped(even.high, odd.high, weights[2], weights[3]);
    }
    for (int h = 0; h < 2; ++h) {
      const float32x4_t four = load_scales(Format::scales(tiles, g), kQuarters * h + quarter);
      into.scales[g][2 * h].set(vcombine_f32(vget_low_f32(four), vget_low_f32(four)));
      into.scales[g][2 * h + 1].set(vcombine_f32(vget_high_f32(four), vget_high_f32(four)));
    }
  }
}

/// Where the sums of rows `2 * r` of a quarter of pair `pair` lie, mixed.
LFM_INLINE float* mixed_sums(float* out, ptrdiff_t out_stride, int pair, int r) {
  return out + (2 * pair + r % 2) * out_stride + r / 2 * 16;
}

/// What `Start::load` gives, from a general register. Units that load are as scarce as those that
/// multiply; a third of the sums start like this, so that neither waits for the other.
LFM_INLINE int32x4_t fill(int32_t value) {
  int32x4_t result;
  asm volatile("dup %0.4s, %w1" : "=w"(result) : "r"(value));
  return result;
}

/// Adds some groups of a quarter to the sums of `Pairs` pairs of tokens from `first` on.
template <int Pairs>
LFM_INLINE void add_wide(const WideQuarter& quarter, const Mixed& mixed, int64_t groups,
                         int64_t first, float* out, ptrdiff_t out_stride) {
  const Start start(kOneBits);
  float32x4_t sums[Pairs][4];
  LFM_UNROLL
  for (int i = 0; i < Pairs; ++i) {
    LFM_UNROLL
    for (int r = 0; r < 4; ++r) sums[i][r] = vld1q_f32(mixed_sums(out, out_stride, i, r));
  }
  for (int64_t g = 0; g < groups; ++g) {
    int32x4_t dots[Pairs][4];
    LFM_UNROLL
    for (int i = 0; i < Pairs; ++i) {
      LFM_UNROLL
      for (int r = 0; r < 4; ++r) dots[i][r] = i == 0 ? fill(kOneBits) : start.load();
    }
    LFM_UNROLL
    for (int k = 0; k < kWides; ++k) {
      int8x16_t inputs[Pairs];
      LFM_UNROLL
      for (int i = 0; i < Pairs; ++i) inputs[i] = vld1q_s8(mixed.values[g][first + i][k]);
      LFM_UNROLL
      for (int r = 0; r < 4; ++r) {
        const int8x16_t weights = vld1q_s8(quarter.weights[g][k][r]);
        LFM_UNROLL
        for (int i = 0; i < Pairs; ++i) dots[i][r] = vmmlaq_s32(dots[i][r], inputs[i], weights);
      }
      asm volatile("" ::: "memory");  // loads made earlier would need more registers than there are
    }
    float32x4_t scales[Pairs];
    LFM_UNROLL
    for (int i = 0; i < Pairs; ++i) scales[i] = vld1q_f32(mixed.scales[g][first + i]);
    LFM_UNROLL
    for (int r = 0; r < 4; ++r) {
      LFM_UNROLL
      for (int i = 0; i < Pairs; ++i) {
        sums[i][r] = vfmaq_f32(sums[i][r], quarter.scales[g][r].times(dots[i][r]), scales[i]);
      }
    }
  }
  LFM_UNROLL
  for (int i = 0; i < Pairs; ++i) {
    LFM_UNROLL
    for (int r = 0; r < 4; ++r) vst1q_f32(mixed_sums(out, out_stride, i, r), sums[i][r]);
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
void multiply_pairs(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                    int64_t pairs, float* out, ptrdiff_t out_stride) {
  clear(out, 2 * pairs, out_stride);
  Mixed mixed;
  WideQuarter quarter;
  for (int64_t g = 0; g < groups; g += kFewGroups) {
    const uint8_t* tiles = Format::weights(block, g);
    const int64_t count = groups - g < kFewGroups ? groups - g : kFewGroups;
    mix(x, g, count, first, pairs, mixed);
    for (int q = 0; q < kQuarters; ++q) {
      unpack_wide<Format>(tiles, count, q, quarter);
      float* sums = out + 4 * q;
      int64_t i = 0;
      for (; i + 3 <= pairs; i += 3) {
        add_wide<3>(quarter, mixed, count, i, sums + 2 * i * out_stride, out_stride);
      }
      if (i + 2 == pairs) {
        add_wide<2>(quarter, mixed, count, i, sums + 2 * i * out_stride, out_stride);
      } else if (i + 1 == pairs) {
        add_wide<1>(quarter, mixed, count, i, sums + 2 * i * out_stride, out_stride);
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
