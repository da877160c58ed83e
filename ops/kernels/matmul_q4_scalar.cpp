// 4-bit weights x int8 activations, one token at a time, plain C++.
#include <cmath>

#include "functions.h"
#include "half.h"
#include "tiles.h"

namespace lfm {
namespace {

void add_group(const uint8_t* tile, const uint8_t* scales, const int8_t* x, float scale,
               int32_t offset, float* sums) {
  int32_t dots[32];
  for (int r = 0; r < 32; ++r) dots[r] = offset;
  for (int s = 0; s < 8; ++s) {
    for (int r = 0; r < 16; ++r) {
      for (int j = 0; j < 4; ++j) {
        const int pair = tile[64 * s + 4 * r + j];
        dots[r] += (pair & 15) * x[4 * s + j];
        dots[16 + r] += (pair >> 4) * x[4 * s + j];
      }
    }
  }
  for (int r = 0; r < 32; ++r) {
    const float weight_scale = half_to_float(scales[2 * r] | scales[2 * r + 1] << 8);
    sums[r] = std::fma(static_cast<float>(dots[r]) * weight_scale, scale, sums[r]);
  }
}

template <class Tiles>
void multiply(const uint8_t* block, const Rows& x, int64_t groups, int64_t first, int64_t tokens,
              float* out, ptrdiff_t out_stride) {
  for (int64_t t = 0; t < tokens; ++t, out += out_stride) {
    for (int r = 0; r < 32; ++r) out[r] = 0;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t i = x.index(g, first + t);
      add_group(Tiles::weights(block, g), Tiles::scales(block, g), x.int8_at(g, first + t),
                x.scales[i], x.offsets[i], out);
    }
  }
}

}  // namespace

void matmul_q4_scalar(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                      int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  multiply<Q4Tiles>(block, x, groups, first, tokens, out, out_stride);
}

void matmul_q4_64_scalar(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                         int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  multiply<Q4In64Tiles>(block, x, groups, first, tokens, out, out_stride);
}

}  // namespace lfm
