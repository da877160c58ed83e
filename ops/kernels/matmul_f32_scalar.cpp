// Float weights x float activations, one token at a time, plain C++.
#include <cmath>
#include <cstring>

#include "functions.h"

namespace lfm {

void matmul_f32_scalar(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                       int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  for (int64_t t = 0; t < tokens; ++t, out += out_stride) {
    for (int r = 0; r < 32; ++r) out[r] = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const float* inputs = x.float_at(g, first + t);
      float sums[32] = {};
      for (int i = 0; i < 32; ++i) {
        float weights[32];
        std::memcpy(weights, block + g * LFM_OPS_TILE_BYTES_F32 + sizeof weights * i,
                    sizeof weights);
        for (int r = 0; r < 32; ++r) sums[r] = std::fma(inputs[i], weights[r], sums[r]);
      }
      for (int r = 0; r < 32; ++r) out[r] += sums[r];
    }
  }
}

}  // namespace lfm
