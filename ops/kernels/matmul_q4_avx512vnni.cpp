// 4-bit weights x int8 activations, AVX512-VNNI.
#include "matmul_int8_avx512vnni.h"

namespace lfm {
namespace {

template <class Tiles>
struct Q4 : Tiles {
  static constexpr int32_t kOffsets = 1;

  static LFM_INLINE Pair load(const uint8_t* tile, int step) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i line = _mm512_loadu_si512(tile + LFM_OPS_LINE_BYTES * step);
    return {_mm512_and_si512(line, nibble), _mm512_and_si512(_mm512_srli_epi16(line, 4), nibble)};
  }
};

}  // namespace

void matmul_q4_avx512vnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                          int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q4<Q4Tiles>>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

void matmul_q4_64_avx512vnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                             int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q4<Q4In64Tiles>>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
