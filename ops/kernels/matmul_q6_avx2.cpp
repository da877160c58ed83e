// 6-bit weights x int8 activations, AVX2.
#include "sums32_256.h"

namespace lfm {
namespace {

struct Dot4 {
  // Pairs are at most 2 * 63 * 127, below 2^15.
  static LFM_INLINE __m256i add(__m256i sums, __m256i weights, __m256i input) {
    const __m256i pairs = _mm256_maddubs_epi16(weights, input);
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

// Weights are 32 too large.
struct Q6 : Q6Tiles, SixBits, Sums32<Dot4, 4> {};

}  // namespace

void matmul_q6_avx2(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                    int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q6>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
