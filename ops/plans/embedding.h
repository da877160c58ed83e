// Rows of packed weights, cut into tasks.
#pragma once

#include "packed_matrix.h"
#include "work.h"

namespace lfm {

/// Rows of `weight` as floats: `out[i] = weight[ids[i]]`.
class EmbeddingWork final : public Work {
 public:
  EmbeddingWork(const PackedMatrix& weight, const int64_t* ids, int64_t tokens, float* out)
      : weight_(weight), ids_(ids), tokens_(tokens), out_(out) {}

  int phases() const override { return 1; }
  int64_t tasks(int) const override { return tokens_; }
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return 0; }

 private:
  PackedMatrix weight_;
  const int64_t* ids_;
  int64_t tokens_;
  float* out_;
};

}  // namespace lfm
