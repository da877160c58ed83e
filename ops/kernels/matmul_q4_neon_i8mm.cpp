// 4-bit weights x int8 activations, NEON with 8-bit matrix products.
#include "matmul_int8_neon_i8mm.h"
#include "matmul_q4_neon.h"

namespace lfm {
namespace {

struct UnsignedBytes {
  static constexpr int32_t kOffsets = 17;

  template <int kStep>
  static LFM_INLINE int32x4_t dot(int32x4_t sums, uint8x16_t bytes, const int8x16x2_t& inputs) {
    return vusdotq_laneq_s32(sums, bytes, inputs.val[kStep / 4], kStep % 4);
  }
};

template <class Tiles>
void multiply(const uint8_t* block, const Rows& x, int64_t groups, int64_t first, int64_t tokens,
              float* out, ptrdiff_t out_stride) {
  const int64_t even = multiply_even<Q4<Tiles>>(block, x, groups, first, tokens, out, out_stride);
  if (even < tokens) {
    multiply_one_by_bytes<Tiles, UnsignedBytes>(block, x, groups, first + even,
                                                out + even * out_stride);
  }
}

}  // namespace

void matmul_q4_neon_i8mm(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                         int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  multiply<Q4Tiles>(block, x, groups, first, tokens, out, out_stride);
}

void matmul_q4_64_neon_i8mm(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                            int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  multiply<Q4In64Tiles>(block, x, groups, first, tokens, out, out_stride);
}

}  // namespace lfm
