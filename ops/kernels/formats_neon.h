// How a quarter of a step is unpacked; see matmul_int8_neon.h.
#pragma once

#include "matmul_int8_neon.h"

namespace lfm {
namespace {

template <class Tiles>
struct Q4 : Tiles {
  static LFM_INLINE int32_t start(int32_t offset) { return offset; }

  /// Value + 8.
  static LFM_INLINE Pair load(const uint8_t* tile, int step, int quarter) {
    const uint8x16_t both = vld1q_u8(tile + LFM_OPS_LINE_BYTES * step + 16 * quarter);
    return {vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))),
            vreinterpretq_s8_u8(vshrq_n_u8(both, 4))};
  }

  static LFM_INLINE Pair load_signed(const uint8_t* tile, int step, int quarter) {
    const Pair pair = load(tile, step, quarter);
    const int8x16_t eight = vdupq_n_s8(8);
    return {vsubq_s8(pair.low, eight), vsubq_s8(pair.high, eight)};
  }
};

struct Q6 : Q6Tiles {
  static LFM_INLINE int32_t start(int32_t offset) { return 4 * offset; }

  /// Value + 32.
  static LFM_INLINE Pair load(const uint8_t* tile, int step, int quarter) {
    const uint8x16_t low = vld1q_u8(tile + LFM_OPS_LINE_BYTES * step + 16 * quarter);
    const uint8x16_t bits =
        vld1q_u8(tile + LFM_OPS_LINE_BYTES * (kSteps + step / 2) + 16 * quarter);
    const uint8x16_t high = step % 2 == 0 ? vshlq_n_u8(bits, 4) : bits;  // from bit 4 on
    return {joined(vandq_u8(low, vdupq_n_u8(15)), high),
            joined(vshrq_n_u8(low, 4), vshrq_n_u8(high, 2))};
  }

  static LFM_INLINE Pair load_signed(const uint8_t* tile, int step, int quarter) {
    const Pair pair = load(tile, step, quarter);
    const int8x16_t middle = vdupq_n_s8(32);
    return {vsubq_s8(pair.low, middle), vsubq_s8(pair.high, middle)};
  }

 private:
  static LFM_INLINE int8x16_t joined(uint8x16_t low, uint8x16_t high) {
    return vreinterpretq_s8_u8(vorrq_u8(low, vandq_u8(high, vdupq_n_u8(0x30))));
  }
};

struct Q8 : Q8Tiles {
  static LFM_INLINE int32_t start(int32_t) { return 0; }

  static LFM_INLINE Pair load(const uint8_t* tile, int step, int quarter) {
    const uint8_t* lines = tile + 2 * LFM_OPS_LINE_BYTES * step + 16 * quarter;
    return {vreinterpretq_s8_u8(vld1q_u8(lines)),
            vreinterpretq_s8_u8(vld1q_u8(lines + LFM_OPS_LINE_BYTES))};
  }

  static LFM_INLINE Pair load_signed(const uint8_t* tile, int step, int quarter) {
    return load(tile, step, quarter);
  }
};

}  // namespace
}  // namespace lfm
