// Sums of a group in 32 bits, a step at a time: what needs no digits.
#pragma once

#include "matmul_int8_256.h"

namespace lfm {
namespace {

/// How a `Format` uses `Dot4::add`, which adds to each 32-bit sum four products of unsigned weights
/// and signed inputs. Weights are 8 * `kOffsets` too large.
template <class Dot4, int32_t kOffsets>
struct Sums32 {
  static constexpr int kTogether = 2;

  static LFM_INLINE __m256i add(__m256i dots, __m256i weights, __m256i input) {
    return Dot4::add(dots, weights, input);
  }

  static LFM_INLINE __m256i finish(__m256i dots, int32_t offset) {
    return _mm256_add_epi32(dots, _mm256_set1_epi32(kOffsets * offset));
  }

  static LFM_INLINE __m256i start(const int32_t* offset) {
    return _mm256_set1_epi32(kOneBits + kOffsets * *offset);
  }

  static LFM_INLINE __m256i add_digits(__m256i dots, __m256i digits, __m256i input) {
    return Dot4::add(dots, digits, input);
  }

  static LFM_INLINE void finish_digits(const __m256i (&dots)[2], const int32_t*,
                                       __m256i (&sums)[2]) {
    sums[0] = dots[0];
    sums[1] = dots[1];
  }
};

}  // namespace
}  // namespace lfm
