// 6-bit weights x int8 activations, NEON with 8-bit matrix products.
#include "matmul_int8_neon_i8mm.h"

namespace lfm {

void matmul_q6_neon_i8mm(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                         int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  const int64_t even = multiply_even<Q6>(block, x, groups, first, tokens, out, out_stride);
  if (even < tokens) multiply_one<Q6>(block, x, groups, first + even, out + even * out_stride);
}

}  // namespace lfm
