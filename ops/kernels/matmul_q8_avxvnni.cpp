// 8-bit weights x int8 activations, AVX-VNNI.
#include "dot4_avxvnni.h"
#include "matmul_int8_256.h"

namespace lfm {
namespace {

struct Q8 {
  static constexpr int kTileBytes = LFM_OPS_TILE_BYTES_Q8;
  static constexpr int kScalesAt = kTileBytes - LFM_OPS_SCALES_BYTES;
  static constexpr int kTogether = 2;

  // Weights are 128 too large, not 8.
  static constexpr int32_t kOffsets = 16;

  static LFM_INLINE void load_step(const uint8_t* tile, int step, __m256i (&weights)[kParts]) {
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) weights[i] = load_part(tile, step, i);
  }

  static LFM_INLINE void load_digits(const uint8_t* tile, int step, int part,
                                     __m256i (&digits)[2]) {
    LFM_UNROLL
    for (int i = 0; i < 2; ++i) digits[i] = load_part(tile, step, part + i);
  }

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

 private:
  static LFM_INLINE __m256i load_part(const uint8_t* tile, int step, int part) {
    return _mm256_xor_si256(load(tile + 2 * LFM_OPS_LINE_BYTES * step + 32 * part),
                            _mm256_set1_epi8(-128));
  }
};

}  // namespace

void matmul_q8_avxvnni(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                       int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  multiply<Q8>(block, x, groups, first, tokens, out, out_stride, prefetch);
}

}  // namespace lfm
