// The dense SwiGLU feed-forward, cut into tasks.
#pragma once

#include "multiply.h"
#include "work.h"

namespace lfm {

/// `out = down(silu(gate(x)) * up(x))`; blocks of `gate_up` [2 * inner in whole blocks, hidden]
/// alternate.
class GatedMlpWork final : public Work {
 public:
  GatedMlpWork(const Kernels& kernels, const PackedMatrix& gate_up, const PackedMatrix& down,
               const float* x, int64_t tokens, float* out);

  void lay_out(Workspace& space) override;
  int phases() const override { return 3; }  // prepare, gate and up, down
  int64_t tasks(int phase) const override;
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return kScratchBytes; }

 private:
  const Kernels& kernels_;
  PackedMatrix gate_up_;
  PackedMatrix down_;
  const float* x_;
  int64_t tokens_;
  float* out_;
  Rows rows_;
  Rows inner_;
};

}  // namespace lfm
