// The gated short convolution as a whole, cut into tasks.
#pragma once

#include "linear.h"
#include "stateful.h"

namespace lfm {

struct ShortConvWeights {
  PackedMatrix in_proj;    // [3 * hidden, hidden]
  const float* in_bias;    // [3 * hidden], or null
  const float* taps;       // [hidden][kernel], the last tap meets the current token
  const float* conv_bias;  // [hidden], or null
  PackedMatrix out_proj;   // [hidden, hidden]
  const float* out_bias;   // [hidden], or null
  int64_t kernel;          // 2 to kMaxConvTaps
};

/// What is remembered of the inputs of the convolution, the oldest first.
struct ConvState {
  const float* past;  // [hidden][kernel - 1]
  float* present;     // alike, and may be the same memory
  float* columns;     // [hidden][kept]: the last of past and the run's together
  int64_t kept;       // 0 to kernel - 1 + tokens
};

/// `out = out_proj(C * conv(B * v))` with `B, C, v = in_proj(x)`.
class GatedShortConvWork final : public Work {
 public:
  GatedShortConvWork(const Kernels& kernels, const StatefulKernels& stateful,
                     const ShortConvWeights& weights, const float* x, int64_t tokens,
                     const ConvState& state, float* out);

  void lay_out(Workspace& space) override;
  int phases() const override { return kPhases; }
  int64_t tasks(int phase) const override;
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return kScratchBytes; }

 private:
  enum Phase { kPrepareIn, kIn, kConvolve, kPrepareOut, kOut, kPhases };

  const StatefulKernels& stateful_;
  ShortConv conv_;
  LinearWork in_;
  LinearWork out_;
};

}  // namespace lfm
