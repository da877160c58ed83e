// 4-bit weights x int8 activations, AVX-VNNI.
#include "dot4_avxvnni.h"

namespace lfm {
namespace {

template <class Tiles>
struct Q4 : Tiles, Nibbles, Sums32<Dot4, 1> {};

}  // namespace

void matmul_q4_avxvnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                       int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q4<Q4Tiles>>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

void matmul_q4_64_avxvnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                          int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q4<Q4In64Tiles>>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
