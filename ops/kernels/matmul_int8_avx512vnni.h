// Weights of 4, 6 or 8 bits x int8 activations with AVX512-VNNI: 32 rows are two registers of sums.
//
// `vpdpbusd` wants one operand unsigned: weights are taken as value + 8, value + 32 or value + 128,
// and sums start at what that adds too much. A `Format` unpacks a step, the 4 inputs x 32 rows that
// one pair of instructions consumes.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "functions.h"
#include "numerics.h"
#include "tiles.h"

namespace lfm {
namespace {

struct Pair {
  __m512i low;   // rows 0 to 15
  __m512i high;  // rows 16 to 31
};

constexpr int kSteps = 8;

LFM_INLINE __m512i broadcast4(const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

/// Scales of 16 rows; one step converts and scales a sum (see kOneFloat).
struct Scales {
  __m512 values;
  __m512 starts;  // times -kOneFloat
};

LFM_INLINE void load_scales(const uint8_t* scales, Scales (&into)[2]) {
  LFM_UNROLL
  for (int h = 0; h < 2; ++h) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales) + h);
    into[h].values = _mm512_cvtph_ps(half);
    into[h].starts = _mm512_mul_ps(into[h].values, _mm512_set1_ps(-kOneFloat));
  }
}

template <class Format>
LFM_INLINE __m512i start(int32_t offset) {
  return _mm512_set1_epi32(kOneBits + Format::kOffsets * offset);
}

template <class Format>
LFM_INLINE void prefetch_group(const uint8_t* tile, ptrdiff_t ahead) {
  if (ahead == 0) return;
  LFM_UNROLL
  for (int line = 0; line < Format::kGroupBytes; line += LFM_OPS_LINE_BYTES) {
    _mm_prefetch(reinterpret_cast<const char*>(tile) + ahead + line, _MM_HINT_T0);
  }
}

LFM_INLINE __m512 add_product(__m512i dots, const Scales& scales, float scale, __m512 sum) {
  const __m512 scaled = _mm512_fmadd_ps(_mm512_castsi512_ps(dots), scales.values, scales.starts);
  return _mm512_fmadd_ps(scaled, _mm512_set1_ps(scale), sum);
}

/// Sums of `Tokens` tokens stay in registers from the first group to the last.
template <class Format, int Tokens>
void multiply_few(const uint8_t* block, const Rows& x, int64_t groups, int64_t first, float* out,
                  ptrdiff_t out_stride, ptrdiff_t prefetch) {
  __m512 sums[Tokens][2];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) sums[t][0] = sums[t][1] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* tile = Format::weights(block, g);
    prefetch_group<Format>(tile, prefetch);
    const int8_t* inputs = x.int8_at(g, first);
    const int64_t at = x.index(g, first);
    __m512i dots[Tokens][2];
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) dots[t][0] = dots[t][1] = start<Format>(x.offsets[at + t]);
    LFM_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const Pair weights = Format::load(tile, s);
      LFM_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        const __m512i input = broadcast4(inputs + t * kGroup + 4 * s);
        dots[t][0] = _mm512_dpbusd_epi32(dots[t][0], weights.low, input);
        dots[t][1] = _mm512_dpbusd_epi32(dots[t][1], weights.high, input);
      }
    }
    Scales scales[2];
    load_scales(Format::scales(block, g), scales);
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      LFM_UNROLL
      for (int h = 0; h < 2; ++h) {
        sums[t][h] = add_product(dots[t][h], scales[h], x.scales[at + t], sums[t][h]);
      }
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    _mm512_storeu_ps(out + t * out_stride, sums[t][0]);
    _mm512_storeu_ps(out + t * out_stride + 16, sums[t][1]);
  }
}

/// One group of `Tokens` tokens, the whole tile of weights in registers.
template <class Format, int Tokens>
LFM_INLINE void add_group(const Pair (&weights)[kSteps], const Scales (&scales)[2],
                          const int8_t* inputs, const float* input_scales, const int32_t* offsets,
                          float* out, ptrdiff_t out_stride) {
  __m512i dots[Tokens][2];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) dots[t][0] = dots[t][1] = start<Format>(offsets[t]);
  LFM_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      const __m512i input = broadcast4(inputs + t * kGroup + 4 * s);
      dots[t][0] = _mm512_dpbusd_epi32(dots[t][0], weights[s].low, input);
      dots[t][1] = _mm512_dpbusd_epi32(dots[t][1], weights[s].high, input);
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int h = 0; h < 2; ++h) {
      float* sum = out + t * out_stride + 16 * h;
      _mm512_storeu_ps(sum,
                       add_product(dots[t][h], scales[h], input_scales[t], _mm512_loadu_ps(sum)));
    }
  }
}

/// Unpacked weights of a group stay in registers while all tokens pass; sums lie in `out`.
template <class Format>
void multiply_many(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                   int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  for (int64_t t = 0; t < tokens; ++t) {
    _mm512_storeu_ps(out + t * out_stride, _mm512_setzero_ps());
    _mm512_storeu_ps(out + t * out_stride + 16, _mm512_setzero_ps());
  }
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* tile = Format::weights(block, g);
    prefetch_group<Format>(tile, prefetch);
    Pair weights[kSteps];
    LFM_UNROLL
    for (int s = 0; s < kSteps; ++s) weights[s] = Format::load(tile, s);
    Scales scales[2];
    load_scales(Format::scales(block, g), scales);
    const int8_t* inputs = x.int8_at(g, first);
    const float* input_scales = x.scales + x.index(g, first);
    const int32_t* offsets = x.offsets + x.index(g, first);
    int64_t t = 0;
    for (; t + 3 <= tokens; t += 3) {
      add_group<Format, 3>(weights, scales, inputs + t * kGroup, input_scales + t, offsets + t,
                           out + t * out_stride, out_stride);
    }
    for (; t < tokens; ++t) {
      add_group<Format, 1>(weights, scales, inputs + t * kGroup, input_scales + t, offsets + t,
                           out + t * out_stride, out_stride);
    }
  }
}

template <class Format>
LFM_INLINE void multiply(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                         int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  switch (tokens) {
    case 1:
      return multiply_few<Format, 1>(block, x, groups, first, out, out_stride, prefetch);
    case 2:
      return multiply_few<Format, 2>(block, x, groups, first, out, out_stride, prefetch);
    case 3:
      return multiply_few<Format, 3>(block, x, groups, first, out, out_stride, prefetch);
    case 4:
      return multiply_few<Format, 4>(block, x, groups, first, out, out_stride, prefetch);
    case 5:
      return multiply_few<Format, 5>(block, x, groups, first, out, out_stride, prefetch);
    case 6:
      return multiply_few<Format, 6>(block, x, groups, first, out, out_stride, prefetch);
    default:
      return multiply_many<Format>(block, x, groups, first, tokens, out, out_stride, prefetch);
  }
}

}  // namespace
}  // namespace lfm
