// 4-bit weights x int8 activations, NEON with 8-bit matrix products.
#include "matmul_int8_neon_i8mm.h"

namespace lfm {
namespace {

// The bits of a large float whose last bit is worth a sixteenth; see kOneBits.
constexpr int32_t kSixteenthBits = 0x49400000;
constexpr float kSixteenthFloat = 786432.0f;

/// Products with whole bytes, 16 * high + low, and with their high nibbles, 16 * high: one `and`
/// unpacks both, since products with the low ones are the difference.
template <int kStep>
LFM_INLINE void add_bytes(const uint8_t* tile, const int8x16x2_t& inputs,
                          int32x4_t (&whole)[kQuarters], int32x4_t (&high)[kQuarters]) {
  LFM_UNROLL
  for (int q = 0; q < kQuarters; ++q) {
    const uint8x16_t bytes = vld1q_u8(tile + LFM_OPS_LINE_BYTES * kStep + 16 * q);
    const uint8x16_t upper = vandq_u8(bytes, vdupq_n_u8(0xf0));
    whole[q] = vusdotq_laneq_s32(whole[q], bytes, inputs.val[kStep / 4], kStep % 4);
    high[q] = vusdotq_laneq_s32(high[q], upper, inputs.val[kStep / 4], kStep % 4);
  }
}

template <int... kStep>
LFM_INLINE void add_tile(const uint8_t* tile, const int8x16x2_t& inputs,
                         int32x4_t (&whole)[kQuarters], int32x4_t (&high)[kQuarters],
                         std::integer_sequence<int, kStep...>) {
  (add_bytes<kStep>(tile, inputs, whole, high), ...);
}

void multiply_one_by_bytes(const uint8_t* tile, const Rows& x, int64_t groups, int64_t token,
                           float* out) {
  float32x4_t sums[kParts];
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) sums[p] = vdupq_n_f32(0);
  for (int64_t g = 0; g < groups; ++g, tile += Q4::kTileBytes) {
    const int64_t at = x.index(g, token);
    const int32_t offset = x.offsets[at];
    const int32x4_t whole_start = vdupq_n_s32(kSixteenthBits + 17 * offset);
    const int32x4_t high_start = vdupq_n_s32(kSixteenthBits + 16 * offset);
    int32x4_t whole[kQuarters];
    int32x4_t high[kQuarters];
    LFM_UNROLL
    for (int q = 0; q < kQuarters; ++q) {
      whole[q] = reload(whole_start);
      high[q] = reload(high_start);
    }
    add_tile(tile, load_group(x.int8_at(g, token)), whole, high, Steps());
    const uint8_t* half = tile + Q4::kScalesAt;
    const float scale = x.scales[at];
    const float low_scale = 16.0f * scale;
    LFM_UNROLL
    for (int q = 0; q < kQuarters; ++q) {
      const float32x4_t all = vreinterpretq_f32_s32(whole[q]);
      const float32x4_t upper = vreinterpretq_f32_s32(high[q]);
      sums[q] = vfmaq_f32(sums[q], vsubq_f32(all, upper),  // a sixteenth of the low products
                          vmulq_n_f32(load_scales(half, q), low_scale));
      const float32x4_t high_scales = vmulq_n_f32(load_scales(half, kQuarters + q), scale);
      sums[kQuarters + q] = vfmaq_f32(sums[kQuarters + q],
                                      vsubq_f32(upper, vdupq_n_f32(kSixteenthFloat)), high_scales);
    }
  }
  LFM_UNROLL
  for (int p = 0; p < kParts; ++p) vst1q_f32(out + 4 * p, sums[p]);
}

}  // namespace

void matmul_q4_neon_i8mm(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                         int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  const int64_t even = multiply_even<Q4>(block, x, groups, first, tokens, out, out_stride);
  if (even < tokens) {
    multiply_one_by_bytes(block, x, groups, first + even, out + even * out_stride);
  }
}

}  // namespace lfm
