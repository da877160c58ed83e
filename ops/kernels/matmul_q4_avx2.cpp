// 4-bit weights x int8 activations, AVX2.
#include "matmul_int8_256.h"

namespace lfm {
namespace {

template <class Tiles>
struct Q4 : Tiles, Nibbles {
  static constexpr int kTogether = 2;  // parts, of one digit each

  // A group fits 16 bits: 8 steps of at most 2 * 15 * 127 make 30480.
  static LFM_INLINE __m256i add(__m256i dots, __m256i weights, __m256i input) {
    return _mm256_add_epi16(dots, _mm256_maddubs_epi16(weights, input));
  }

  static LFM_INLINE __m256i finish(__m256i dots, int32_t offset) {
    return _mm256_add_epi32(widened(dots), _mm256_set1_epi32(offset));
  }

  static LFM_INLINE __m256i start(const int32_t*) { return _mm256_setzero_si256(); }

  static LFM_INLINE __m256i add_digits(__m256i dots, __m256i digits, __m256i input) {
    return add(dots, digits, input);
  }

  static LFM_INLINE void finish_digits(const __m256i (&dots)[2], const int32_t* offset,
                                       __m256i (&sums)[2]) {
    const __m256i offset_and_one =
        _mm256_add_epi32(_mm256_set1_epi32(*offset), _mm256_set1_epi32(kOneBits));
    LFM_UNROLL
    for (int i = 0; i < 2; ++i) sums[i] = _mm256_add_epi32(widened(dots[i]), offset_and_one);
  }

 private:
  static LFM_INLINE __m256i widened(__m256i dots) {
    return _mm256_madd_epi16(dots, _mm256_set1_epi16(1));
  }
};

}  // namespace

void matmul_q4_avx2(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                    int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q4<Q4Tiles>>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

void matmul_q4_64_avx2(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                       int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q4<Q4In64Tiles>>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
