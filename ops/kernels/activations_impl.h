// What is done to activations between matrix products, for the Lanes of the file that includes
// this.
#pragma once

#include <cstring>

#include "kernels.h"
#include "lanes_math_impl.h"
#include "padded_group.h"

namespace lfm {
namespace {

constexpr int kParts = kGroup / kWidth;  // registers of a group

LFM_INLINE F silu(F x) {
  const F limit = Lanes::set(kExpLimit);
  // In this order NaN passes.
  const F minus = Lanes::max(Lanes::negate(limit), Lanes::min(limit, Lanes::negate(x)));
  const Exponential e = exponential<true>(minus);
  return Lanes::div(x, Lanes::add(Lanes::set(1.0f), Lanes::scaled(e.p, e.n)));
}

LFM_INLINE F swiglu(const float* gate, const float* up) {
  return Lanes::mul(silu(Lanes::load(gate)), Lanes::load(up));
}

LFM_INLINE void quantize_group(const F (&x)[kParts], int64_t group, int64_t token,
                               const Rows& rows) {
  F largest = Lanes::set(0.0f);
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) largest = Lanes::larger(largest, x[i]);
  const float magnitude = Lanes::largest(largest);
  const bool zero = magnitude < kSmallestMagnitude;
  const F inverse = Lanes::set(zero ? 0.0f : 127.0f / magnitude);
  const int32_t sum = Lanes::store_rounded(rows.int8_at(group, token), x, inverse);
  const int64_t at = rows.index(group, token);
  rows.scales[at] = zero ? 0.0f : magnitude / 127.0f;
  rows.offsets[at] = static_cast<int32_t>(-8u * static_cast<uint32_t>(sum));
}

void prepare_int8(const float* x, ptrdiff_t stride, int64_t columns, int64_t first, int64_t tokens,
                  const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, x += stride) {
    for (int64_t g = 0; g < columns / kGroup; ++g) {
      F parts[kParts];
      LFM_UNROLL
      for (int i = 0; i < kParts; ++i) parts[i] = Lanes::load(x + g * kGroup + i * kWidth);
      quantize_group(parts, g, first + t, rows);
    }
  }
}

void prepare_f32(const float* x, ptrdiff_t stride, int64_t columns, int64_t first, int64_t tokens,
                 const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, x += stride) {
    for (int64_t at = 0; at < columns; at += kGroup) {
      const PaddedGroup group(x, at, columns);
      float* out = rows.float_at(at / kGroup, first + t);
      std::memcpy(out, group.data, kGroup * sizeof *out);
    }
  }
}

void swiglu_int8(const float* gate, const float* up, int64_t group, int64_t first, int64_t tokens,
                 const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t, gate += kGroup, up += kGroup) {
    F parts[kParts];
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) parts[i] = swiglu(gate + i * kWidth, up + i * kWidth);
    quantize_group(parts, group, first + t, rows);
  }
}

void swiglu_f32(const float* gate, const float* up, int64_t group, int64_t first, int64_t tokens,
                const Rows& rows) {
  float* inner = rows.float_at(group, first);
  for (int64_t i = 0; i < tokens * kGroup; i += kWidth) {
    Lanes::store(inner + i, swiglu(gate + i, up + i));
  }
}

LFM_INLINE void add_products(const float* x, const float* w, F (&sums)[kParts]) {
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) {
    sums[i] = Lanes::fused(Lanes::load(x + i * kWidth), Lanes::load(w + i * kWidth), sums[i]);
  }
}

void dots(const float* x, const float* w, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; ++r, w += columns) {
    F sums[kParts];
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) sums[i] = Lanes::set(0.0f);
    int64_t at = 0;
    for (; at + kGroup <= columns; at += kGroup) add_products(x + at, w + at, sums);
    if (at < columns) {
      add_products(PaddedGroup(x, at, columns).data, PaddedGroup(w, at, columns).data, sums);
    }
    LFM_UNROLL
    for (int half = kParts / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) sums[i] = Lanes::add(sums[i], sums[i + half]);
    }
    out[r] = sum_of(sums[0]);
  }
}

void add_scaled(const float* in, float weight, float* out) {
  const F factor = Lanes::set(weight);
  for (int i = 0; i < kBlockRows; i += kWidth) {
    Lanes::store(out + i, Lanes::fused(factor, Lanes::load(in + i), Lanes::load(out + i)));
  }
}

}  // namespace
}  // namespace lfm
