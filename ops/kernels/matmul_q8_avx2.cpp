// 8-bit weights x int8 activations, AVX2.
#include "matmul_int8_256.h"

namespace lfm {
namespace {

struct Q8 : Q8Tiles {
  static constexpr int kTogether = 1;  // part, of two digits

  static LFM_INLINE void load_step(const uint8_t* tile, int step, __m256i (&weights)[kParts]) {
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) weights[i] = load_part(tile, step, i);
  }

  // A weight is 16 * digit 1 + digit 0 - 128: then products of a group fit 16 bits, as of 4-bit
  // weights.
  static LFM_INLINE void load_digits(const uint8_t* tile, int step, int part,
                                     __m256i (&digits)[2]) {
    const __m256i weights = _mm256_xor_si256(load_part(tile, step, part), _mm256_set1_epi8(-128));
    digits[0] = low_nibbles(weights);
    digits[1] = high_nibbles(weights);
  }

  // Signs move to the activations, which are never -128; pairs stay below 2 * 128 * 127 < 2^15.
  static LFM_INLINE __m256i add(__m256i dots, __m256i weights, __m256i input) {
    const __m256i pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(input, weights));
    return _mm256_add_epi32(dots, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }

  static LFM_INLINE __m256i finish(__m256i dots, int32_t) { return dots; }

  static LFM_INLINE __m256i start(const int32_t*) { return _mm256_setzero_si256(); }

  static LFM_INLINE __m256i add_digits(__m256i dots, __m256i digits, __m256i input) {
    return _mm256_add_epi16(dots, _mm256_maddubs_epi16(digits, input));
  }

  static LFM_INLINE void finish_digits(const __m256i (&dots)[2], const int32_t* offset,
                                       __m256i (&sums)[1]) {
    const __m256i low = _mm256_madd_epi16(dots[0], _mm256_set1_epi16(1));
    const __m256i high = _mm256_madd_epi16(dots[1], _mm256_set1_epi16(16));
    // The offset is that of weights that are 8 too large.
    const __m256i offset_and_one = _mm256_add_epi32(
        _mm256_slli_epi32(_mm256_set1_epi32(*offset), 4), _mm256_set1_epi32(kOneBits));
    sums[0] = _mm256_add_epi32(_mm256_add_epi32(low, offset_and_one), high);
  }

 private:
  static LFM_INLINE __m256i load_part(const uint8_t* tile, int step, int part) {
    return load(tile + 2 * LFM_OPS_LINE_BYTES * step + 32 * part);
  }
};

}  // namespace

void matmul_q8_avx2(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                    int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q8>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
