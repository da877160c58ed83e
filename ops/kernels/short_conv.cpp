#include "short_conv.h"

#include <algorithm>

#include "workspace.h"

namespace lfm {
namespace {

constexpr int64_t kChannelsPerTask = 256;

}  // namespace

GatedShortConvWork::GatedShortConvWork(const Kernels& kernels, const StatefulKernels& stateful,
                                       const ShortConvWeights& weights, const float* x,
                                       int64_t tokens, const ConvState& state, float* out,
                                       void* workspace)
    : stateful_(stateful),
      memory_(plan(weights, tokens, workspace)),
      conv_{memory_.projected,     weights.taps,   weights.conv_bias, state.past,
            state.present,         state.columns,  memory_.gated,     tokens,
            weights.out_proj.rows, weights.kernel, state.kept},
      in_(kernels, weights.in_proj, weights.in_bias, x, tokens, memory_.projected, memory_.rows),
      out_(kernels, weights.out_proj, weights.out_bias, memory_.gated, tokens, out, memory_.rows) {}

GatedShortConvWork::Memory GatedShortConvWork::plan(const ShortConvWeights& weights, int64_t tokens,
                                                    void* workspace) {
  const int64_t hidden = weights.out_proj.rows;
  Workspace space(workspace);
  Memory memory;
  memory.projected = space.take<float>(tokens * 3 * hidden);
  memory.gated = space.take<float>(tokens * hidden);
  memory.rows = space.take<char>(
      std::max(LinearWork::workspace_bytes(*weights.in_proj.format, tokens, hidden),
               LinearWork::workspace_bytes(*weights.out_proj.format, tokens, hidden)));
  memory.bytes = space.bytes();
  return memory;
}

int64_t GatedShortConvWork::workspace_bytes(const ShortConvWeights& weights, int64_t tokens) {
  return plan(weights, tokens, nullptr).bytes;
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
