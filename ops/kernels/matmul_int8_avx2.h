// Weights of 4 or 8 bits x int8 activations with AVX2: 32 rows are four registers of sums.
//
// A `Format` unpacks a step, the 4 inputs x 32 rows that four `vpmaddubsw` consume, and says how
// their 16-bit results are summed.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "functions.h"

namespace lfm {
namespace {

constexpr int kSteps = 8;
constexpr int kParts = 4;        // of 8 rows
constexpr int kStepBytes = 128;  // unpacked
constexpr int kUnpackedBytes = kSteps * kStepBytes;

LFM_INLINE __m256i load(const uint8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

LFM_INLINE __m256i broadcast4(const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

LFM_INLINE void load_scales(const uint8_t* scales, __m256 (&into)[kParts]) {
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) {
    into[i] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales) + i));
  }
}

template <class Format>
LFM_INLINE void prefetch_tile(const uint8_t* tile, ptrdiff_t ahead) {
  if (ahead == 0) return;
  LFM_UNROLL
  for (int line = 0; line < Format::kTileBytes; line += LFM_OPS_LINE_BYTES) {
    _mm_prefetch(reinterpret_cast<const char*>(tile) + ahead + line, _MM_HINT_T0);
  }
}

LFM_INLINE __m256 add_product(__m256i dots, __m256 weight_scale, float scale, __m256 sum) {
  return _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(dots), weight_scale),
                         _mm256_set1_ps(scale), sum);
}

/// One token: sums stay in registers from the first group to the last.
template <class Format>
void multiply_one(const uint8_t* tile, const Rows& x, int64_t groups, int64_t token, float* out,
                  ptrdiff_t prefetch) {
  __m256 sums[kParts];
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) sums[i] = _mm256_setzero_ps();
  for (int64_t g = 0; g < groups; ++g, tile += Format::kTileBytes) {
    prefetch_tile<Format>(tile, prefetch);
    const int8_t* inputs = x.int8_at(g, token);
    const int64_t at = x.index(g, token);
    __m256i dots[kParts];
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) dots[i] = _mm256_setzero_si256();
    LFM_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      __m256i weights[kParts];
      Format::load_step(tile, s, weights);
      const __m256i input = broadcast4(inputs + 4 * s);
      LFM_UNROLL
      for (int i = 0; i < kParts; ++i) dots[i] = Format::add(dots[i], weights[i], input);
    }
    __m256 scales[kParts];
    load_scales(tile + Format::kScalesAt, scales);
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) {
      sums[i] =
          add_product(Format::finish(dots[i], x.offsets[at]), scales[i], x.scales[at], sums[i]);
    }
  }
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) _mm256_storeu_ps(out + 8 * i, sums[i]);
}

/// One group of `Tokens` tokens; `weights` are unpacked, in L1.
template <class Format, int Tokens>
LFM_INLINE void add_group(const uint8_t* weights, const __m256 (&scales)[kParts],
                          const int8_t* inputs, const float* input_scales, const int32_t* offsets,
                          float* out, ptrdiff_t out_stride) {
  __m256i dots[Tokens][kParts];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) dots[t][i] = _mm256_setzero_si256();
  }
  LFM_UNROLL
  for (int s = 0; s < kSteps; ++s) {
    __m256i input[Tokens];
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) input[t] = broadcast4(inputs + t * kGroup + 4 * s);
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) {
      const __m256i part = load(weights + kStepBytes * s + 32 * i);
      LFM_UNROLL
      for (int t = 0; t < Tokens; ++t) dots[t][i] = Format::add(dots[t][i], part, input[t]);
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) {
      float* sum = out + t * out_stride + 8 * i;
      _mm256_storeu_ps(sum, add_product(Format::finish(dots[t][i], offsets[t]), scales[i],
                                        input_scales[t], _mm256_loadu_ps(sum)));
    }
  }
}

/// Weights are unpacked once per group, then all tokens pass; sums lie in `out`.
template <class Format>
void multiply_many(const uint8_t* tile, const Rows& x, int64_t groups, int64_t first,
                   int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int i = 0; i < kParts; ++i) {
      _mm256_storeu_ps(out + t * out_stride + 8 * i, _mm256_setzero_ps());
    }
  }
  alignas(32) uint8_t scratch[kUnpackedBytes];
  for (int64_t g = 0; g < groups; ++g, tile += Format::kTileBytes) {
    prefetch_tile<Format>(tile, prefetch);
    const uint8_t* weights = Format::unpack(tile, scratch);
    __m256 scales[kParts];
    load_scales(tile + Format::kScalesAt, scales);
    const int8_t* inputs = x.int8_at(g, first);
    const float* input_scales = x.scales + x.index(g, first);
    const int32_t* offsets = x.offsets + x.index(g, first);
    int64_t t = 0;
    for (; t + 2 <= tokens; t += 2) {
      add_group<Format, 2>(weights, scales, inputs + t * kGroup, input_scales + t, offsets + t,
                           out + t * out_stride, out_stride);
    }
    if (t < tokens) {
      add_group<Format, 1>(weights, scales, inputs + t * kGroup, input_scales + t, offsets + t,
                           out + t * out_stride, out_stride);
    }
  }
}

template <class Format>
LFM_INLINE void multiply(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                         int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  if (tokens == 1) {
    multiply_one<Format>(block, x, groups, first, out, prefetch);
  } else {
    multiply_many<Format>(block, x, groups, first, tokens, out, out_stride, prefetch);
  }
}

}  // namespace
}  // namespace lfm
