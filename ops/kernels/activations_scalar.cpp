// What is done to activations between matrix products, plain C++.
#include <cmath>
#include <cstring>

#include "functions.h"
#include "numerics.h"

namespace lfm {
namespace {

float exponential(float x) {
  if (x != x) return x;
  x = std::fmin(kExpLimit, std::fmax(-kExpLimit, x));
  const float n = std::nearbyint(x * kLog2E);
  const float r = std::fma(-n, kLn2Low, std::fma(-n, kLn2High, x));
  float p = kExpPolynomial[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, r, kExpPolynomial[i]);
  return std::ldexp(std::fma(p, r * r, r) + 1.0f, static_cast<int>(n));
}

float swiglu(float gate, float up) { return gate / (1.0f + exponential(-gate)) * up; }

/// The largest magnitude; NaN, if there is one.
float largest(const float* x) {
  uint32_t most = 0;
  for (int i = 0; i < kGroup; ++i) {
    uint32_t word;
    std::memcpy(&word, &x[i], sizeof word);
    word &= 0x7fffffff;
    if (word > most) most = word;
  }
  float value;
  std::memcpy(&value, &most, sizeof value);
  return value;
}

int8_t rounded(float x) {
  const float whole = std::nearbyint(x);
  return whole >= -128.0f && whole <= 127.0f ? static_cast<int8_t>(whole) : int8_t{-128};
}

void quantize_group(const float* x, int64_t group, int64_t token, const Rows& rows) {
  const float magnitude = largest(x);
  const bool zero = magnitude < kSmallestMagnitude;
  const float inverse = zero ? 0.0f : 127.0f / magnitude;
  int8_t* values = rows.int8_at(group, token);
  int32_t sum = 0;
  for (int i = 0; i < kGroup; ++i) {
    values[i] = rounded(x[i] * inverse);
    sum += values[i];
  }
  rows.scales[rows.index(group, token)] = zero ? 0.0f : magnitude / 127.0f;
  rows.offsets[rows.index(group, token)] = -8 * sum;
}

}  // namespace

void prepare_int8_scalar(const float* x, ptrdiff_t stride, int64_t columns, int64_t first,
                         int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t g = 0; g < columns / kGroup; ++g) {
      quantize_group(x + t * stride + g * kGroup, g, first + t, rows);
    }
  }
}

void prepare_f32_scalar(const float* x, ptrdiff_t stride, int64_t columns, int64_t first,
                        int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t at = 0; at < columns; at += kGroup) {
      float* group = rows.float_at(at / kGroup, first + t);
      const int64_t count = columns - at < kGroup ? columns - at : kGroup;
      std::memcpy(group, x + t * stride + at, static_cast<size_t>(count) * sizeof *x);
      for (int64_t i = count; i < kGroup; ++i) group[i] = 0.0f;
    }
  }
}

void swiglu_int8_scalar(const float* gate, const float* up, int64_t group, int64_t first,
                        int64_t tokens, const Rows& rows) {
  for (int64_t t = 0; t < tokens; ++t) {
    float inner[kGroup];
    for (int i = 0; i < kGroup; ++i) inner[i] = swiglu(gate[t * kGroup + i], up[t * kGroup + i]);
    quantize_group(inner, group, first + t, rows);
  }
}

void swiglu_f32_scalar(const float* gate, const float* up, int64_t group, int64_t first,
                       int64_t tokens, const Rows& rows) {
  for (int64_t i = 0; i < tokens * kGroup; ++i) {
    rows.float_at(group, first)[i] = swiglu(gate[i], up[i]);
  }
}

void dots_scalar(const float* x, const float* w, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; ++r, w += columns) {
    float sums[32] = {};
    for (int64_t i = 0; i < columns; i += 32) {
      for (int j = 0; j < 32 && i + j < columns; ++j) {
        sums[j] = std::fma(x[i + j], w[i + j], sums[j]);
      }
    }
    for (int half = 16; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
    }
    out[r] = sums[0];
  }
}

void add_scaled_scalar(const float* in, float weight, float* out) {
  for (int r = 0; r < kBlockRows; ++r) out[r] = std::fma(weight, in[r], out[r]);
}

}  // namespace lfm
