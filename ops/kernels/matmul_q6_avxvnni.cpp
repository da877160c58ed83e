// 6-bit weights x int8 activations, AVX-VNNI.
#include "dot4_avxvnni.h"

namespace lfm {
namespace {

// Weights are 32 too large.
struct Q6 : Q6Tiles, SixBits, Sums32<Dot4, 4> {};

}  // namespace

void matmul_q6_avxvnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                       int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q6>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
