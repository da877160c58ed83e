// The residual stream between two ops, for the Lanes of the file that includes this.
#pragma once

#include <cmath>

#include "lanes_math_impl.h"
#include "stateful.h"

namespace lfm {
namespace {

// One token; `branch` and `sum` may both be null.
void add_norm(const AddNorm& how, const float* x, const float* branch, float* sum, float* out) {
  F squares = Lanes::set(0.0f);
  for_registers(how.size, [&](int64_t at, int64_t count) LFM_INLINE_LAMBDA {
    F value = load_some(x + at, count);
    if (branch != nullptr) {
      value = Lanes::add(value, load_some(branch + at, count));
      store_some(sum + at, count, value);
    }
    squares = Lanes::fma(value, value, squares);
  });
  const float* added = branch == nullptr ? x : sum;
  const float mean = sum_of(squares) / static_cast<float>(how.size);
  const F factor = Lanes::set(1.0f / std::sqrt(mean + how.epsilon));
  for_registers(how.size, [&](int64_t at, int64_t count) LFM_INLINE_LAMBDA {
    const F normed = Lanes::mul(load_some(added + at, count), factor);
    store_some(out + at, count, Lanes::mul(normed, load_some(how.weight + at, count)));
  });
}

}  // namespace
}  // namespace lfm
