#include "multiply.h"

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

}  // namespace lfm
