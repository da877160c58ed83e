#include "linear.h"

#include "multiply.h"
#include "workspace.h"

namespace lfm {
namespace {

void store_rows(const float* sums, const float* bias, int64_t rows, float* out) {
  for (int64_t r = 0; r < rows; ++r) out[r] = bias == nullptr ? sums[r] : sums[r] + bias[r];
}

}  // namespace

void multiply_blocks(const Kernels& kernels, const PackedMatrix& weight, const float* bias,
                     const Rows& x, int64_t begin, int64_t end, float* out, void* scratch) {
  float* sums = static_cast<float*>(scratch);
  for_each_block(begin, end, x.tokens, [&](int64_t block, int64_t first, int64_t tokens) {
    const int64_t row = block * kBlockRows;
    const int64_t rows = std::min(kBlockRows, weight.rows - row);
    multiply_block(kernels, weight, block, x, first, tokens, sums);
    for (int64_t t = 0; t < tokens; ++t) {
      store_rows(sums + t * kBlockRows, bias == nullptr ? nullptr : bias + row, rows,
                 out + (first + t) * weight.rows + row);
    }
  });
}

void multiply_gated(const Kernels& kernels, const PackedMatrix& gate_up, const Format& down,
                    const Rows& x, int64_t begin, int64_t end, const Rows& inner, void* scratch) {
  float* gate = static_cast<float*>(scratch);
  float* up = gate + kTokenBlock * kBlockRows;
  for_each_block(begin, end, x.tokens, [&](int64_t pair, int64_t first, int64_t tokens) {
    multiply_block(kernels, gate_up, 2 * pair, x, first, tokens, gate);
    multiply_block(kernels, gate_up, 2 * pair + 1, x, first, tokens, up);
    kernels.activations(down).swiglu(gate, up, pair, first, tokens, inner);
  });
}

LinearWork::LinearWork(const Kernels& kernels, const PackedMatrix& weight, const float* bias,
                       const float* x, int64_t tokens, float* out, void* workspace)
    : kernels_(kernels),
      weight_(weight),
      bias_(bias),
      x_(x),
      tokens_(tokens),
      out_(out),
      rows_(Workspace(workspace).take_rows(*weight.format, tokens, weight.columns)) {}

int64_t LinearWork::workspace_bytes(const Format& weight, int64_t tokens, int64_t columns) {
  Workspace workspace(nullptr);
  workspace.take_rows(weight, tokens, columns);
  return workspace.bytes();
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

GatedMlpWork::GatedMlpWork(const Kernels& kernels, const PackedMatrix& gate_up,
                           const PackedMatrix& down, const float* x, int64_t tokens, float* out,
                           void* workspace)
    : kernels_(kernels), gate_up_(gate_up), down_(down), x_(x), tokens_(tokens), out_(out) {
  Workspace space(workspace);
  rows_ = space.take_rows(*gate_up.format, tokens, gate_up.columns);
  inner_ = space.take_rows(*down.format, tokens, down.columns);
}

int64_t GatedMlpWork::workspace_bytes(const PackedMatrix& gate_up, const PackedMatrix& down,
                                      int64_t tokens) {
  Workspace workspace(nullptr);
  workspace.take_rows(*gate_up.format, tokens, gate_up.columns);
  workspace.take_rows(*down.format, tokens, down.columns);
  return workspace.bytes();
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
