// The residual stream between two ops, for the Lanes of the file that includes this.
#pragma once

#include <cmath>

#include "attention_impl.h"

namespace lfm {
namespace {

// Some values from `at` on, zeros behind the last.
LFM_INLINE F load_some(const float* x, int64_t at, int64_t size) {
  if (size - at >= kWidth) return Lanes::load(x + at);
  float lanes[kWidth] = {};
  for (int64_t i = at; i < size; ++i) lanes[i - at] = x[i];
  return Lanes::load(lanes);
}

LFM_INLINE void store_some(float* x, int64_t at, int64_t size, F values) {
  if (size - at >= kWidth) return Lanes::store(x + at, values);
  float lanes[kWidth];
  Lanes::store(lanes, values);
  for (int64_t i = at; i < size; ++i) x[i] = lanes[i - at];
}

// One token; `branch` and `sum` may both be null.
void add_norm(const AddNorm& how, const float* x, const float* branch, float* sum, float* out) {
  F squares = Lanes::set(0.0f);
  for (int64_t i = 0; i < how.size; i += kWidth) {
    F value = load_some(x, i, how.size);
    if (branch != nullptr) {
      value = Lanes::add(value, load_some(branch, i, how.size));
      store_some(sum, i, how.size, value);
    }
    squares = Lanes::fma(value, value, squares);
  }
  const float* added = branch == nullptr ? x : sum;
  const float mean = sum_of(squares) / static_cast<float>(how.size);
  const F factor = Lanes::set(1.0f / std::sqrt(mean + how.epsilon));
  for (int64_t i = 0; i < how.size; i += kWidth) {
    const F normed = Lanes::mul(load_some(added, i, how.size), factor);
    store_some(out, i, how.size, Lanes::mul(normed, load_some(how.weight, i, how.size)));
  }
}

}  // namespace
}  // namespace lfm
