// One token x weights of 4 bits, NEON: products with whole bytes, 16 * high + low, and with their
// low nibbles; those with the high ones are the difference. So no shift unpacks a byte: on most
// cores fewer units do shifts than do anything else.
#pragma once

#include "formats_neon.h"

namespace lfm {
namespace {

/// `Bytes` multiplies with whole bytes: `dot<step>(sums, bytes, inputs)`, and `kOffsets` is how
/// many times too large that is by 8 * the sum of the inputs.
template <class Bytes, int kStep>
LFM_INLINE void add_bytes(const uint8_t* tile, const int8x16x2_t& inputs,
                          int32x4_t (&whole)[kQuarters], int32x4_t (&low)[kQuarters]) {
  LFM_UNROLL
  for (int q = 0; q < kQuarters; ++q) {
    const uint8x16_t bytes = vld1q_u8(tile + LFM_OPS_LINE_BYTES * kStep + 16 * q);
    const uint8x16_t nibbles = vandq_u8(bytes, vdupq_n_u8(15));
    whole[q] = Bytes::template dot<kStep>(whole[q], bytes, inputs);
    low[q] = dot<kStep>(low[q], vreinterpretq_s8_u8(nibbles), inputs);
  }
  asm volatile("" ::: "memory");
}

template <class Bytes, int... kStep>
LFM_INLINE void add_tile(const uint8_t* tile, const int8x16x2_t& inputs,
                         int32x4_t (&whole)[kQuarters], int32x4_t (&low)[kQuarters],
                         std::integer_sequence<int, kStep...>) {
  (add_bytes<Bytes, kStep>(tile, inputs, whole, low), ...);
}

template <class Tiles, class Bytes>
void multiply_one_by_bytes(const uint8_t* block, const Rows& x, int64_t groups, int64_t token,
                           float* out) {
  float32x4_t sums[kParts];
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) sums[p] = vdupq_n_f32(0);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t at = x.index(g, token);
    const int32_t offset = x.offsets[at];
    const Start whole_start(kOneBits + Bytes::kOffsets * offset);
    const Start low_start(kOneBits + offset);
    int32x4_t whole[kQuarters];
    int32x4_t low[kQuarters];
    LFM_UNROLL
    for (int q = 0; q < kQuarters; ++q) {
      whole[q] = whole_start.load();
      low[q] = low_start.load();
    }
    const int8x16x2_t inputs = load_group(x.int8_at(g, token));
    add_tile<Bytes>(Tiles::weights(block, g), inputs, whole, low, Steps());
    const uint8_t* half = Tiles::scales(block, g);
    const float scale = x.scales[at];
    const float high_scale = scale / 16.0f;  // stays exact: see kSmallestMagnitude
    LFM_UNROLL
    for (int q = 0; q < kQuarters; ++q) {
      const float32x4_t high =
          vsubq_f32(vreinterpretq_f32_s32(whole[q]), vreinterpretq_f32_s32(low[q]));  // 16 times
      const int p = kQuarters + q;
      sums[q] = add_scaled(vmulq_f32(to_float(low[q]), load_scales(half, q)), scale, sums[q]);
      sums[p] = add_scaled(vmulq_f32(high, load_scales(half, p)), high_scale, sums[p]);
    }
  }
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) vst1q_f32(out + 4 * p, sums[p]);
}

}  // namespace
}  // namespace lfm
