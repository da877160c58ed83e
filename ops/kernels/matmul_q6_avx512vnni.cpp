// 6-bit weights x int8 activations, AVX512-VNNI.
#include "matmul_int8_avx512vnni.h"

namespace lfm {
namespace {

struct Q6 : Q6Tiles {
  // Weights are 32 too large, not 8.
  static constexpr int32_t kOffsets = 4;

  static LFM_INLINE Pair load(const uint8_t* tile, int step) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i low = _mm512_loadu_si512(tile + LFM_OPS_LINE_BYTES * step);
    const __m512i bits = _mm512_loadu_si512(tile + LFM_OPS_LINE_BYTES * (kSteps + step / 2));
    const __m512i high = step % 2 == 0 ? _mm512_slli_epi16(bits, 4) : bits;  // from bit 4 on
    return {
        joined(_mm512_and_si512(low, nibble), high),
        joined(_mm512_and_si512(_mm512_srli_epi16(low, 4), nibble), _mm512_srli_epi16(high, 2))};
  }

 private:
  static LFM_INLINE __m512i joined(__m512i low, __m512i high) {
    return _mm512_or_si512(low, _mm512_and_si512(high, _mm512_set1_epi8(0x30)));
  }
};

}  // namespace

void matmul_q6_avx512vnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                          int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q6>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
