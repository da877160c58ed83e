// 8-bit weights x int8 activations, AVX-VNNI.
#include "dot4_avxvnni.h"

namespace lfm {
namespace {

// Weights are 128 too large, not 8.
struct Q8 : Q8Tiles, Sums32<Dot4, 16> {
  static LFM_INLINE void load_step(const uint8_t* tile, int step, __m256i (&weights)[kParts]) {
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) weights[i] = load_part(tile, step, i);
  }

  static LFM_INLINE void load_digits(const uint8_t* tile, int step, int pass,
                                     __m256i (&digits)[2]) {
    LFM_UNROLL
    for (int i = 0; i < 2; ++i) digits[i] = load_part(tile, step, pass + 2 * i);
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
