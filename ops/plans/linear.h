// A product with packed weights, cut into tasks.
#pragma once

#include "multiply.h"
#include "work.h"

namespace lfm {

/// `out[tokens][weight.rows] = x[tokens][weight.columns] * weight^T (+ bias[weight.rows])`.
class LinearWork final : public Work {
 public:
  LinearWork(const Kernels& kernels, const PackedMatrix& weight, const float* bias, const float* x,
             int64_t tokens, float* out);

  // For one that reads or writes what a larger work has laid out.
  void read_from(const float* x) { x_ = x; }
  void write_to(float* out) { out_ = out; }

  void lay_out(Workspace& space) override;
  int phases() const override { return 2; }  // prepare, multiply
  int64_t tasks(int phase) const override;
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return kScratchBytes; }

 private:
  const Kernels& kernels_;
  PackedMatrix weight_;
  const float* bias_;
  const float* x_;
  int64_t tokens_;
  float* out_;
  Rows rows_;
};

}  // namespace lfm
