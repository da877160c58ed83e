#include "short_conv.h"

#include <algorithm>

namespace lfm {
namespace {

constexpr int64_t kChannelsPerTask = 256;

}  // namespace

GatedShortConvWork::GatedShortConvWork(const Kernels& kernels, const StatefulKernels& stateful,
                                       const ShortConvWeights& weights, const float* x,
                                       int64_t tokens, const ConvState& state, float* out)
    : stateful_(stateful),
      conv_{nullptr,        weights.taps,  weights.conv_bias,
            state.past,     state.present, state.columns,
            nullptr,        tokens,        weights.out_proj.rows,
            weights.kernel, state.kept},
      in_(kernels, weights.in_proj, weights.in_bias, x, tokens, nullptr),
      out_(kernels, weights.out_proj, weights.out_bias, nullptr, tokens, out) {}

void GatedShortConvWork::lay_out(Workspace& space) {
  float* projected = space.take<float>(conv_.tokens * 3 * conv_.hidden);
  float* gated = space.take<float>(conv_.tokens * conv_.hidden);
  in_.write_to(projected);
  conv_.projected = projected;
  conv_.out = gated;
  out_.read_from(gated);
  Workspace same = space;  // one projection has ended when the other begins
  in_.lay_out(space);
  out_.lay_out(same);
  space.overlap(same);
}

int64_t GatedShortConvWork::tasks(int phase) const {
  if (phase < kConvolve) return in_.tasks(phase);
  if (phase > kConvolve) return out_.tasks(phase - kPrepareOut);
  return (conv_.hidden + kChannelsPerTask - 1) / kChannelsPerTask;
}

void GatedShortConvWork::run(int phase, int64_t begin, int64_t end, void* scratch) {
  if (phase < kConvolve) {
    in_.run(phase, begin, end, scratch);
  } else if (phase > kConvolve) {
    out_.run(phase - kPrepareOut, begin, end, scratch);
  } else {
    stateful_.short_conv(conv_, begin * kChannelsPerTask,
                         std::min(end * kChannelsPerTask, conv_.hidden));
  }
}

}  // namespace lfm
