// 8-bit weights x int8 activations, AVX512-VNNI.
#include "matmul_int8_avx512vnni.h"

namespace lfm {
namespace {

struct Q8 : Q8Tiles {
  // Weights are 128 too large, not 8.
  static constexpr int32_t kOffsets = 16;

  static LFM_INLINE Pair load(const uint8_t* tile, int step) {
    const __m512i sign = _mm512_set1_epi8(-128);
    const uint8_t* lines = tile + 2 * LFM_OPS_LINE_BYTES * step;
    return {_mm512_xor_si512(_mm512_loadu_si512(lines), sign),
            _mm512_xor_si512(_mm512_loadu_si512(lines + LFM_OPS_LINE_BYTES), sign)};
  }
};

}  // namespace

void matmul_q8_avx512vnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                          int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q8>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
