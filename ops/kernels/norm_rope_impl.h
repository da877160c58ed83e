// From a projection to a query, a key or a value, for the Lanes of the file that includes this.
#pragma once

#include <cmath>

#include "lanes_math_impl.h"
#include "stateful.h"

namespace lfm {
namespace {

void norm_rope(const NormRope& how, const float* in, float* out) {
  F squares = Lanes::set(0.0f);
  for (int64_t d = 0; d < how.head_dim; d += kWidth) {
    const F x = Lanes::load(in + d);
    squares = Lanes::fma(x, x, squares);
  }
  const float mean = sum_of(squares) / static_cast<float>(how.head_dim);
  const F factor = Lanes::set(how.scale / std::sqrt(mean + how.epsilon));
  for (int64_t d = 0; d < how.head_dim; d += kWidth) {
    const F normed = Lanes::mul(Lanes::load(in + d), factor);
    Lanes::store(out + d, Lanes::mul(normed, Lanes::load(how.weight + d)));
  }
  for (int64_t i = 0; i < how.half; ++i) {
    const float first = out[i], second = out[i + how.half];
    out[i] = first * how.cos[i] - second * how.sin[i];
    out[i + how.half] = second * how.cos[i] + first * how.sin[i];
  }
}

// As activations are rounded: 127 steps to the largest magnitude.
void append_int8(const float* in, int64_t head_dim, int8_t* out, float* scale) {
  float largest = 0.0f;
  for (int64_t d = 0; d < head_dim; ++d) {
    const float size = std::fabs(in[d]);
    largest = size > largest ? size : largest;
  }
  if (!(largest >= kSmallestMagnitude)) largest = 0.0f;
  *scale = largest / 127.0f;
  const float inverse = largest > 0.0f ? 1.0f / *scale : 0.0f;
  for (int64_t d = 0; d < head_dim; ++d) {
    float steps = std::nearbyintf(in[d] * inverse);
    steps = steps > -127.0f ? steps : -127.0f;  // what is not a number becomes one, too
    out[d] = static_cast<int8_t>(steps < 127.0f ? steps : 127.0f);
  }
}

void append(const float* in, int64_t head_dim, CacheType type, const CacheHead& head,
            int64_t slot) {
  const int64_t start = slot * head_dim;
  if (type == CacheType::kInt8) {
    append_int8(in, head_dim, static_cast<int8_t*>(head.data) + start, head.scales + slot);
    return;
  }
  for (int64_t d = 0; d < head_dim; d += kWidth) {
    const F x = Lanes::load(in + d);
    if (type == CacheType::kFloat) {
      Lanes::store(static_cast<float*>(head.data) + start + d, x);
    } else {
      Lanes::store(static_cast<uint16_t*>(head.data) + start + d, x);
    }
  }
}

}  // namespace
}  // namespace lfm
