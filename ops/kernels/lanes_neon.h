// 4 floats at a time, NEON as every 64-bit ARM has it.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "compiler.h"

namespace lfm {
namespace {

struct Lanes {
  using F = float32x4_t;
  static constexpr int kWidth = 4;
  static constexpr int kTileRows = 6;  // of a matrix product, with kTileVectors columns of F
  static constexpr int kTileVectors = 4;

  static F load(const float* p) { return vld1q_f32(p); }
  static F load(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
  static F load(const int8_t* p) {
    uint32_t four;
    std::memcpy(&four, p, sizeof four);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
  }
  static void store(float* p, F x) { vst1q_f32(p, x); }
  static void store(uint16_t* p, F x) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x))); }
  static F set(float x) { return vdupq_n_f32(x); }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F fused(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static F div(F a, F b) { return vdivq_f32(a, b); }
  static F negate(F x) { return vnegq_f32(x); }
  static F min(F a, F b) { return vminq_f32(a, b); }  // a NaN passes
  static F max(F a, F b) { return vmaxq_f32(a, b); }
  static F round(F x) { return vrndnq_f32(x); }
  // 2^n of whole n from -126 to 127.
  static F power_of_two(F n) { return power_of_two(vcvtq_s32_f32(n)); }
  // p * 2^n, rounded once: in two steps, because 2^n alone may lie outside what a float holds.
  static F scaled(F p, F n) {
    const int32x4_t whole = vcvtq_s32_f32(n);
    const int32x4_t half = vshrq_n_s32(whole, 1);
    p = vmulq_f32(p, power_of_two(half));
    return vmulq_f32(p, power_of_two(vsubq_s32(whole, half)));
  }
  // y where x >= limit, else 0.
  static F where_at_least(F x, F limit, F y) {
    return vreinterpretq_f32_u32(vandq_u32(vcgeq_f32(x, limit), vreinterpretq_u32_f32(y)));
  }

  static void transpose(F (&x)[kWidth]) {
    const float32x4x2_t a = vtrnq_f32(x[0], x[1]), b = vtrnq_f32(x[2], x[3]);
    x[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    x[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    x[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    x[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
  }

  // The larger magnitude, found among integers, so that a NaN is larger than any number.
  static F larger(F magnitude, F x) {
    return vreinterpretq_f32_u32(
        vmaxq_u32(vreinterpretq_u32_f32(magnitude), vreinterpretq_u32_f32(vabsq_f32(x))));
  }
  static float largest(F magnitudes) {
    const uint32_t most = vmaxvq_u32(vreinterpretq_u32_f32(magnitudes));
    return vgetq_lane_f32(vreinterpretq_f32_u32(vdupq_n_u32(most)), 0);
  }
  // Rounds x * factor to 32 integers and returns their sum.
  static int32_t store_rounded(int8_t* p, const F (&x)[8], F factor) {
    int32_t sum = 0;
    LFM_UNROLL
    for (int h = 0; h < 2; ++h) {
      int16x4_t words[4];
      LFM_UNROLL
      for (int i = 0; i < 4; ++i) {
        words[i] = vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(x[4 * h + i], factor)));
      }
      const int8x16_t bytes = vcombine_s8(vqmovn_s16(vcombine_s16(words[0], words[1])),
                                          vqmovn_s16(vcombine_s16(words[2], words[3])));
      vst1q_s8(p + 16 * h, bytes);
      sum += vaddlvq_s8(bytes);
    }
    return sum;
  }

 private:
  static F power_of_two(int32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
  }
};

}  // namespace
}  // namespace lfm
