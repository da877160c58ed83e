// The gated short convolution. Channels go side by side, tokens one after another; the loops are
// plain, and vectorized by the compiler for the instruction set of the file that includes this.
#pragma once

#include "compiler.h"
#include "stateful.h"

namespace lfm {
namespace {

constexpr int64_t kChannels = 16;  // that go side by side

// `count` channels from `channel` on. An output adds its taps from the oldest input to the newest,
// then the bias, each product rounded by itself.
void short_conv_channels(const ShortConv& conv, int64_t channel, int64_t count) {
  const int64_t taps = conv.kernel, state = taps - 1;
  float tap[kMaxConvTaps][kChannels] = {}, inputs[kMaxConvTaps][kChannels] = {};
  float bias[kChannels] = {};
  for (int64_t c = 0; c < count; ++c) {
    for (int64_t k = 0; k < taps; ++k) tap[k][c] = conv.taps[(channel + c) * taps + k];
    for (int64_t k = 0; k < state; ++k) inputs[k][c] = conv.past[(channel + c) * state + k];
    if (conv.bias != nullptr) bias[c] = conv.bias[channel + c];
  }
  for (int64_t token = 0; token < conv.tokens; ++token) {
    const float* before = conv.projected + token * 3 * conv.hidden + channel;
    const float* after = before + conv.hidden;
    const float* values = after + conv.hidden;
    float* out = conv.out + token * conv.hidden + channel;
    float gated[kChannels] = {}, sum[kChannels] = {};
    for (int64_t c = 0; c < count; ++c) gated[c] = before[c] * values[c];
    for (int64_t c = 0; c < kChannels; ++c) inputs[state][c] = gated[c];
    for (int64_t k = 0; k < taps; ++k) {
      for (int64_t c = 0; c < kChannels; ++c) sum[c] += inputs[k][c] * tap[k][c];
    }
    for (int64_t c = 0; c < count; ++c) out[c] = after[c] * (sum[c] + bias[c]);
    for (int64_t k = 0; k < state; ++k) {
      for (int64_t c = 0; c < kChannels; ++c) inputs[k][c] = inputs[k + 1][c];
    }
  }
  for (int64_t c = 0; c < count; ++c) {
    for (int64_t k = 0; k < state; ++k) conv.present[(channel + c) * state + k] = inputs[k][c];
  }
}

// The same for a single token: to turn its few numbers for registers would cost more than it saves.
LFM_INLINE void short_conv_token(const ShortConv& conv, int64_t begin, int64_t end, int64_t taps) {
  const int64_t state = taps - 1;
  const float* before = conv.projected;
  const float* after = before + conv.hidden;
  const float* values = after + conv.hidden;
  for (int64_t c = begin; c < end; ++c) {
    const float* tap = conv.taps + c * taps;
    const float* past = conv.past + c * state;
    float* present = conv.present + c * state;
    const float gated = before[c] * values[c];
    float sum = 0.0f;
    for (int64_t k = 0; k < state; ++k) sum += past[k] * tap[k];
    sum += gated * tap[state];
    conv.out[c] = after[c] * (sum + (conv.bias == nullptr ? 0.0f : conv.bias[c]));
    for (int64_t k = 1; k < state; ++k) present[k - 1] = past[k];
    present[state - 1] = gated;
  }
}

// Before `present` takes the place of `past`.
void keep_columns(const ShortConv& conv, int64_t begin, int64_t end) {
  const int64_t state = conv.kernel - 1, first = state + conv.tokens - conv.kept;
  for (int64_t i = 0; i < conv.kept; ++i) {
    const int64_t token = first + i - state;
    float* column = conv.columns + i;
    if (token < 0) {
      const float* past = conv.past + state + token;
      for (int64_t c = begin; c < end; ++c) column[c * conv.kept] = past[c * state];
      continue;
    }
    const float* before = conv.projected + token * 3 * conv.hidden;
    const float* values = before + 2 * conv.hidden;
    for (int64_t c = begin; c < end; ++c) column[c * conv.kept] = before[c] * values[c];
  }
}

void short_conv(const ShortConv& conv, int64_t begin, int64_t end) {
  keep_columns(conv, begin, end);
  if (conv.tokens == 1) {
    return conv.kernel == 3 ? short_conv_token(conv, begin, end, 3)
                            : short_conv_token(conv, begin, end, conv.kernel);
  }
  for (int64_t channel = begin; channel < end; channel += kChannels) {
    short_conv_channels(conv, channel, end - channel < kChannels ? end - channel : kChannels);
  }
}

}  // namespace
}  // namespace lfm
