// Sums of four products of bytes: what AVX-VNNI adds to AVX2.
#pragma once

#include "sums32_256.h"

namespace lfm {
namespace {

struct Dot4 {
#ifdef LFM_OPS_WITHOUT_VNNI
  // The same by AVX2, so that a CPU that lacks the instruction can test all else.
  static LFM_INLINE __m256i add(__m256i sums, __m256i weights, __m256i input) {
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(weights, _mm256_set1_epi16(255)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(input, 8), 8));
    const __m256i odd =
        _mm256_madd_epi16(_mm256_srli_epi16(weights, 8), _mm256_srai_epi16(input, 8));
    return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
  }
#else
  static LFM_INLINE __m256i add(__m256i sums, __m256i weights, __m256i input) {
    return _mm256_dpbusd_avx_epi32(sums, weights, input);
  }
#endif
};

}  // namespace
}  // namespace lfm
