// 4-bit weights x int8 activations, NEON with dot products.
#include "matmul_q4_neon.h"

namespace lfm {
namespace {

/// With the highest bit turned a byte is, signed, 16 * (high nibble - 8) + low nibble.
struct SignedBytes {
  static constexpr int32_t kOffsets = 1;

  template <int kStep>
  static LFM_INLINE int32x4_t dot(int32x4_t sums, uint8x16_t bytes, const int8x16x2_t& inputs) {
    const uint8x16_t turned = veorq_u8(bytes, vdupq_n_u8(0x80));
    return lfm::dot<kStep>(sums, vreinterpretq_s8_u8(turned), inputs);
  }
};

template <class Tiles>
void multiply(const uint8_t* block, const Rows& x, int64_t groups, int64_t first, int64_t tokens,
              float* out, ptrdiff_t out_stride) {
  if (tokens == 1) {
    multiply_one_by_bytes<Tiles, SignedBytes>(block, x, groups, first, out);
  } else {
    multiply_many<Q4<Tiles>>(block, x, groups, first, tokens, out, out_stride);
  }
}

}  // namespace

void matmul_q4_neon_dotprod(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                            int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  multiply<Q4Tiles>(block, x, groups, first, tokens, out, out_stride);
}

void matmul_q4_64_neon_dotprod(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                               int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t) {
  multiply<Q4In64Tiles>(block, x, groups, first, tokens, out, out_stride);
}

}  // namespace lfm
