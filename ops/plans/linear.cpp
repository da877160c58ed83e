#include "linear.h"

namespace lfm {

LinearWork::LinearWork(const Kernels& kernels, const PackedMatrix& weight, const float* bias,
                       const float* x, int64_t tokens, float* out)
    : kernels_(kernels), weight_(weight), bias_(bias), x_(x), tokens_(tokens), out_(out) {}

void LinearWork::lay_out(Workspace& space) {
  rows_ = space.take_rows(*weight_.format, tokens_, weight_.columns);
}

int64_t LinearWork::tasks(int phase) const { return phase == 0 ? tokens_ : weight_.row_blocks(); }

void LinearWork::run(int phase, int64_t begin, int64_t end, void* scratch) {
  if (phase == 0) {
    kernels_.activations(*weight_.format)
        .prepare(x_ + begin * weight_.columns, weight_.columns, weight_.columns, begin, end - begin,
                 rows_);
  } else {
    multiply_blocks(kernels_, weight_, bias_, rows_, begin, end, out_, scratch);
  }
}

}  // namespace lfm
