#include "gated_mlp.h"

namespace lfm {

GatedMlpWork::GatedMlpWork(const Kernels& kernels, const PackedMatrix& gate_up,
                           const PackedMatrix& down, const float* x, int64_t tokens, float* out)
    : kernels_(kernels), gate_up_(gate_up), down_(down), x_(x), tokens_(tokens), out_(out) {}

void GatedMlpWork::lay_out(Workspace& space) {
  rows_ = space.take_rows(*gate_up_.format, tokens_, gate_up_.columns);
  inner_ = space.take_rows(*down_.format, tokens_, down_.columns);
}

int64_t GatedMlpWork::tasks(int phase) const {
  return phase == 0 ? tokens_ : phase == 1 ? down_.groups() : down_.row_blocks();
}

void GatedMlpWork::run(int phase, int64_t begin, int64_t end, void* scratch) {
  if (phase == 0) {
    kernels_.activations(*gate_up_.format)
        .prepare(x_ + begin * gate_up_.columns, gate_up_.columns, gate_up_.columns, begin,
                 end - begin, rows_);
  } else if (phase == 1) {
    multiply_gated(kernels_, gate_up_, *down_.format, rows_, begin, end, inner_, scratch);
  } else {
    multiply_blocks(kernels_, down_, nullptr, inner_, begin, end, out_, scratch);
  }
}

}  // namespace lfm
