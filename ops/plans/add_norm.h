// The residual stream between two ops, cut into tasks.
#pragma once

#include "stateful.h"
#include "work.h"

namespace lfm {

/// Of each token `sum = x + branch`, `out = norm(sum)`; without a branch `out = norm(x)`.
class AddNormWork final : public Work {
 public:
  AddNormWork(const StatefulKernels& kernels, const AddNorm& how, const float* x,
              const float* branch, float* sum, float* out, int64_t tokens)
      : kernels_(kernels),
        how_(how),
        x_(x),
        branch_(branch),
        sum_(sum),
        out_(out),
        tokens_(tokens) {}

  int phases() const override { return 1; }
  int64_t tasks(int) const override { return tokens_; }
  int64_t scratch_bytes() const override { return 0; }
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;

 private:
  const StatefulKernels& kernels_;
  AddNorm how_;
  const float* x_;
  const float* branch_;
  float* sum_;
  float* out_;
  int64_t tokens_;
};

}  // namespace lfm
