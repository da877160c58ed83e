// The residual stream between two ops, for the Lanes of the file that includes this.
#pragma once

#include <cmath>

#include "attention_impl.h"

namespace lfm {
namespace {

// One token; `branch` and `sum` may both be null.
void add_norm(const AddNorm& how, const float* x, const float* branch, float* sum, float* out) {
  F squares = Lanes::set(0.0f);
  for (int64_t i = 0; i < how.size; i += kWidth) {
    F value = Lanes::load(x + i);
    if (branch != nullptr) {
      value = Lanes::add(value, Lanes::load(branch + i));
      Lanes::store(sum + i, value);
    }
    squares = Lanes::fma(value, value, squares);
  }
  const float* added = branch == nullptr ? x : sum;
  const float mean = sum_of(squares) / static_cast<float>(how.size);
  const F factor = Lanes::set(1.0f / std::sqrt(mean + how.epsilon));
  for (int64_t i = 0; i < how.size; i += kWidth) {
    const F normed = Lanes::mul(Lanes::load(added + i), factor);
    Lanes::store(out + i, Lanes::mul(normed, Lanes::load(how.weight + i)));
  }
}

}  // namespace
}  // namespace lfm
