// What the kernels over lanes share, for the Lanes of the file that includes this.
#pragma once

#include "compiler.h"
#include "numerics.h"

namespace lfm {
namespace {

using F = Lanes::F;
constexpr int kWidth = Lanes::kWidth;

template <bool kFused>
LFM_INLINE F multiply_add(F a, F b, F c) {
  return kFused ? Lanes::fused(a, b, c) : Lanes::fma(a, b, c);
}

/// e^x = p 2^n, by the steps of numerics.h.
struct Exponential {
  F p, n;
};

/// Products are fused where results are the same on every instruction set; the plain loops of
/// attention do without, since there fusing may be a call, and slow.
template <bool kFused>
LFM_INLINE Exponential exponential(F x) {
  const F n = Lanes::round(Lanes::mul(x, Lanes::set(kLog2E)));
  F r = multiply_add<kFused>(n, Lanes::set(-kLn2High), x);
  r = multiply_add<kFused>(n, Lanes::set(-kLn2Low), r);
  F p = Lanes::set(kExpPolynomial[0]);
  LFM_UNROLL
  for (int i = 1; i < 6; ++i) p = multiply_add<kFused>(p, r, Lanes::set(kExpPolynomial[i]));
  p = Lanes::add(multiply_add<kFused>(p, Lanes::mul(r, r), r), Lanes::set(1.0f));
  return {p, n};
}

/// The sum, in halves.
LFM_INLINE float sum_of(F x) {
  float lanes[kWidth];
  Lanes::store(lanes, x);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

LFM_INLINE float max_of(F x) {
  float lanes[kWidth];
  Lanes::store(lanes, x);
  float largest = lanes[0];
  for (int i = 1; i < kWidth; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

/// Calls `step(at, count)` for every register of `size` values; only the last may be in part.
template <class Step>
LFM_INLINE void for_registers(int64_t size, const Step& step) {
  int64_t at = 0;
  for (; at + kWidth <= size; at += kWidth) step(at, kWidth);
  if (at < size) step(at, size - at);
}

/// The first `count` values, zeros behind them.
LFM_INLINE F load_some(const float* x, int64_t count) {
  if (count == kWidth) return Lanes::load(x);
  float lanes[kWidth] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = x[i];
  return Lanes::load(lanes);
}

LFM_INLINE void store_some(float* x, int64_t count, F values) {
  if (count == kWidth) return Lanes::store(x, values);
  float lanes[kWidth];
  Lanes::store(lanes, values);
  for (int64_t i = 0; i < count; ++i) x[i] = lanes[i];
}

}  // namespace
}  // namespace lfm
