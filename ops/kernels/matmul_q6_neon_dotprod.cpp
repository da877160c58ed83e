// 6-bit weights x int8 activations, NEON with dot products.
#include "formats_neon.h"

namespace lfm {

void matmul_q6_neon_dotprod(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                            int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  if (tokens == 1) {
    multiply_one<Q6>(block, x, groups, first, out);
  } else {
    multiply_many<Q6>(block, x, groups, first, tokens, out, out_stride);
  }
}

}  // namespace lfm
