// Sums of four products of bytes: what AVX-VNNI adds to AVX2, and how a `Format` uses it.
#pragma once

#include "matmul_int8_256.h"

namespace lfm {
namespace {

/// Adds to each 32-bit sum four products of unsigned `weights` and signed `input`.
#ifdef LFM_OPS_WITHOUT_VNNI
// The same by AVX2, so that a CPU that lacks the instruction can test all else.
LFM_INLINE __m256i dot4(__m256i sums, __m256i weights, __m256i input) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(weights, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(input, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(weights, 8), _mm256_srai_epi16(input, 8));
  return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
}
#else
LFM_INLINE __m256i dot4(__m256i sums, __m256i weights, __m256i input) {
  return _mm256_dpbusd_avx_epi32(sums, weights, input);
}
#endif

/// Sums of a group in 32 bits, of weights that are 8 * `kOffsets` too large.
template <int32_t kOffsets>
struct VnniSums {
  static constexpr int kTogether = 2;

  static LFM_INLINE __m256i add(__m256i dots, __m256i weights, __m256i input) {
    return dot4(dots, weights, input);
  }

  static LFM_INLINE __m256i finish(__m256i dots, int32_t offset) {
    return _mm256_add_epi32(dots, _mm256_set1_epi32(kOffsets * offset));
  }

  static LFM_INLINE __m256i start(const int32_t* offset) {
    return _mm256_set1_epi32(kOneBits + kOffsets * *offset);
  }

  static LFM_INLINE __m256i add_digits(__m256i dots, __m256i digits, __m256i input) {
    return dot4(dots, digits, input);
  }

  static LFM_INLINE void finish_digits(const __m256i (&dots)[2], const int32_t*,
                                       __m256i (&sums)[2]) {
    sums[0] = dots[0];
    sums[1] = dots[1];
  }
};

}  // namespace
}  // namespace lfm
