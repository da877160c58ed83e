// Weights of 4, 6 or 8 bits x int8 activations in registers of 256 bits (AVX2, AVX-VNNI): 32 rows
// are four registers of sums.
//
// One token is bound by memory: a `Format` unpacks a step, the 4 inputs x 32 rows that four
// registers hold, and says how their products are summed (`add`, `finish`).
//
// Several tokens are bound by arithmetic: two registers of digits meet four tokens at a time. A
// weight is one digit, so that these are of two parts of the rows (`pass` and two further, which
// share bytes), or two digits of one part; a `Format` says how their products are summed over a
// group (`start`, `add_digits`, `finish_digits`).
#pragma once

#include <immintrin.h>

#include <cstring>

#include "functions.h"
#include "tiles.h"

namespace lfm {
namespace {

constexpr int kSteps = 8;
constexpr int kParts = 4;   // of 8 rows
constexpr int kTokens = 4;  // that meet registers of digits together
constexpr int kChunk = 8;   // groups whose sums stay with these tokens: whole tiles

LFM_INLINE __m256i load(const uint8_t* bytes) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

LFM_INLINE __m256i broadcast4(const int8_t* x) {
  int32_t four;
  std::memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

/// Of each byte the low or the high four bits.
LFM_INLINE __m256i low_nibbles(__m256i bytes) {
  return _mm256_and_si256(bytes, _mm256_set1_epi8(15));
}
LFM_INLINE __m256i high_nibbles(__m256i bytes) { return low_nibbles(_mm256_srli_epi16(bytes, 4)); }

/// How the weights of a group of 4 bits lie.
struct Nibbles {
  static LFM_INLINE void load_step(const uint8_t* tile, int step, __m256i (&weights)[kParts]) {
    LFM_UNROLL
    for (int i = 0; i < 2; ++i) {
      const __m256i both = load(tile + LFM_OPS_LINE_BYTES * step + 32 * i);
      weights[i] = low_nibbles(both);
      weights[2 + i] = high_nibbles(both);
    }
  }

  static LFM_INLINE void load_digits(const uint8_t* tile, int step, int pass,
                                     __m256i (&digits)[2]) {
    const __m256i both = load(tile + LFM_OPS_LINE_BYTES * step + 32 * pass);
    digits[0] = low_nibbles(both);
    digits[1] = high_nibbles(both);
  }
};

/// How those of 6 bits lie; the high bits are taken to bits 4 and 5 of their bytes.
struct SixBits {
  static LFM_INLINE void load_step(const uint8_t* tile, int step, __m256i (&weights)[kParts]) {
    Nibbles::load_step(tile, step, weights);
    LFM_UNROLL
    for (int i = 0; i < 2; ++i) {
      const __m256i bits = load_high(tile, step, i);
      weights[i] = _mm256_or_si256(weights[i], first_half(bits));
      weights[2 + i] = _mm256_or_si256(weights[2 + i], second_half(bits));
    }
  }

  static LFM_INLINE void load_digits(const uint8_t* tile, int step, int pass,
                                     __m256i (&digits)[2]) {
    Nibbles::load_digits(tile, step, pass, digits);
    const __m256i bits = load_high(tile, step, pass);
    digits[0] = _mm256_or_si256(digits[0], first_half(bits));
    digits[1] = _mm256_or_si256(digits[1], second_half(bits));
  }

 private:
  /// Those of a step in bits 0 to 3, or of an odd step 4 to 7, moved where `*_half` want them.
  static LFM_INLINE __m256i load_high(const uint8_t* tile, int step, int i) {
    const uint8_t* lines = tile + kSteps * LFM_OPS_LINE_BYTES;
    const __m256i bits = load(lines + LFM_OPS_LINE_BYTES * (step / 2) + 32 * i);
    return step % 2 == 0 ? _mm256_slli_epi16(bits, 4) : bits;
  }
  static LFM_INLINE __m256i first_half(__m256i bits) {
    return _mm256_and_si256(bits, _mm256_set1_epi8(0x30));
  }
  static LFM_INLINE __m256i second_half(__m256i bits) {
    return first_half(_mm256_srli_epi16(bits, 2));
  }
};

LFM_INLINE void load_scales(const uint8_t* scales, __m256 (&into)[kParts]) {
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) {
    into[i] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(scales) + i));
  }
}

template <class Format>
LFM_INLINE void prefetch_group(const uint8_t* tile, ptrdiff_t ahead) {
  if (ahead == 0) return;
  LFM_UNROLL
  for (int line = 0; line < Format::kGroupBytes; line += LFM_OPS_LINE_BYTES) {
    _mm_prefetch(reinterpret_cast<const char*>(tile) + ahead + line, _MM_HINT_T0);
  }
}

LFM_INLINE __m256 add_product(__m256i dots, __m256 weight_scale, float scale, __m256 sum) {
  return _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(dots), weight_scale),
                         _mm256_set1_ps(scale), sum);
}

/// One token: sums stay in registers from the first group to the last.
template <class Format>
void multiply_one(const uint8_t* block, const Rows& x, int64_t groups, int64_t token, float* out,
                  ptrdiff_t prefetch) {
  __m256 sums[kParts];
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) sums[i] = _mm256_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* tile = Format::weights(block, g);
    prefetch_group<Format>(tile, prefetch);
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
    load_scales(Format::scales(block, g), scales);
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) {
      sums[i] =
          add_product(Format::finish(dots[i], x.offsets[at]), scales[i], x.scales[at], sums[i]);
    }
  }
  LFM_UNROLL
  for (int i = 0; i < kParts; ++i) _mm256_storeu_ps(out + 8 * i, sums[i]);
}

/// The bits of this float plus a sum below 2^22 are those of `kOne + sum`.
constexpr float kOne = 12582912.0f;
constexpr int32_t kOneBits = 0x4b400000;

/// Scales of a group's rows, used for many tokens: one step converts and scales.
struct Scales {
  alignas(32) float values[8 * kParts];
  alignas(32) float starts[8 * kParts];  // times -kOne, which is exact

  LFM_INLINE void set(const uint8_t* halves) {
    __m256 scales[kParts];
    load_scales(halves, scales);
    LFM_UNROLL
    for (int i = 0; i < kParts; ++i) {
      _mm256_store_ps(values + 8 * i, scales[i]);
      _mm256_store_ps(starts + 8 * i, _mm256_mul_ps(scales[i], _mm256_set1_ps(-kOne)));
    }
  }
  /// `sum * scale`, rounded once, of the sums that are these bits less `kOneBits`.
  LFM_INLINE __m256 times(__m256i sums, int part) const {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(sums), _mm256_load_ps(values + 8 * part),
                           _mm256_load_ps(starts + 8 * part));
  }
};

/// Holds a value in a register at this place: GCC would move the products of later steps forward,
/// and run out of registers.
LFM_INLINE void pin(__m256i& value) { asm("" : "+x"(value)); }

/// How often two registers of digits are taken from a group.
template <class Format>
constexpr int kPasses = kParts / Format::kTogether;

/// The digits of weights where they lie: for a few tokens they are taken apart in passing.
template <class Format>
struct Packed {
  const uint8_t* tiles;
  bool fetching;

  LFM_INLINE Packed(const uint8_t* first, int64_t, ptrdiff_t prefetch)
      : tiles(first), fetching(prefetch != 0) {}
  // Of the next chunk what `pass` is of this one, so that memory is never idle: a few tokens wait
  // for it as much as for products.
  LFM_INLINE void fetch(int64_t group, int pass) const {
    constexpr int kPassBytes = Format::kGroupBytes / kPasses<Format>;
    if (!fetching) return;
    const uint8_t* from = tiles + (kChunk + group) * Format::kGroupBytes + pass * kPassBytes;
    LFM_UNROLL
    for (int at = 0; at < kPassBytes; at += LFM_OPS_LINE_BYTES) {
      _mm_prefetch(reinterpret_cast<const char*>(from) + at, _MM_HINT_T0);
    }
  }
  LFM_INLINE void fetched() { fetching = false; }
  LFM_INLINE void load_digits(int64_t group, int step, int pass, __m256i (&digits)[2]) const {
    Format::load_digits(Format::weights(tiles, group), step, pass, digits);
  }
};

/// The same, taken apart once for many tokens; they lie in the L1 cache.
template <class Format>
struct Unpacked {
  alignas(32) uint8_t bytes[kPasses<Format>][kChunk][kSteps][64];

  LFM_INLINE Unpacked(const uint8_t* tiles, int64_t groups, ptrdiff_t prefetch) {
    for (int64_t g = 0; g < groups; ++g) {
      const uint8_t* tile = Format::weights(tiles, g);
      prefetch_group<Format>(tile, prefetch);
      for (int pass = 0; pass < kPasses<Format>; ++pass) {
        LFM_UNROLL
        for (int s = 0; s < kSteps; ++s) {
          __m256i digits[2];
          Format::load_digits(tile, s, pass, digits);
          __m256i* to = reinterpret_cast<__m256i*>(bytes[pass][g][s]);
          _mm256_store_si256(to, digits[0]);
          _mm256_store_si256(to + 1, digits[1]);
        }
      }
    }
  }
  LFM_INLINE void fetch(int64_t, int) const {}
  LFM_INLINE void fetched() {}
  LFM_INLINE void load_digits(int64_t group, int step, int pass, __m256i (&digits)[2]) const {
    const uint8_t* from = bytes[pass][group][step];
    digits[0] = load(from);
    digits[1] = load(from + 32);
  }
};

/// Some groups of `Tokens` tokens with the rows of a pass, added to the sums in `out`.
template <class Format, int Tokens, class Weights>
LFM_INLINE void add_parts(const Weights& weights, const Scales* scales, int pass, const Rows& x,
                          int64_t group, int64_t groups, int64_t first, float* out,
                          ptrdiff_t out_stride) {
  __m256 sums[Tokens][Format::kTogether];
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int i = 0; i < Format::kTogether; ++i) {
      sums[t][i] = _mm256_loadu_ps(out + t * out_stride + 8 * (pass + kPasses<Format> * i));
    }
  }
  for (int64_t g = 0; g < groups; ++g) {
    weights.fetch(g, pass);
    const int64_t at = x.index(group + g, first);
    const int8_t* inputs = x.int8_at(group + g, first);
    __m256i dots[Tokens][2];
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      dots[t][0] = dots[t][1] = Format::start(x.offsets + at + t);
    }
    LFM_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      __m256i digits[2];
      weights.load_digits(g, s, pass, digits);
      LFM_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        const __m256i input = broadcast4(inputs + t * kGroup + 4 * s);
        LFM_UNROLL
        for (int d = 0; d < 2; ++d) {
          dots[t][d] = Format::add_digits(dots[t][d], digits[d], input);
          pin(dots[t][d]);
        }
      }
    }
    LFM_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      __m256i whole[Format::kTogether];
      Format::finish_digits(dots[t], x.offsets + at + t, whole);
      LFM_UNROLL
      for (int i = 0; i < Format::kTogether; ++i) {
        sums[t][i] = _mm256_fmadd_ps(scales[g].times(whole[i], pass + kPasses<Format> * i),
                                     _mm256_set1_ps(x.scales[at + t]), sums[t][i]);
      }
    }
  }
  LFM_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    LFM_UNROLL
    for (int i = 0; i < Format::kTogether; ++i) {
      _mm256_storeu_ps(out + t * out_stride + 8 * (pass + kPasses<Format> * i), sums[t][i]);
    }
  }
}

/// The same with all rows of a block.
template <class Format, int Tokens, class Weights>
LFM_INLINE void add_rows(const Weights& weights, const Scales* scales, const Rows& x, int64_t group,
                         int64_t groups, int64_t first, float* out, ptrdiff_t out_stride) {
  for (int pass = 0; pass < kPasses<Format>; ++pass) {
    add_parts<Format, Tokens>(weights, scales, pass, x, group, groups, first, out, out_stride);
  }
}

/// Up to `kChunk` groups of any tokens, added to the sums in `out`.
template <class Format, class Weights>
LFM_INLINE void add_chunk(const uint8_t* tiles, const Rows& x, int64_t group, int64_t groups,
                          int64_t first, int64_t tokens, float* out, ptrdiff_t out_stride,
                          ptrdiff_t prefetch) {
  Weights weights(tiles, groups, prefetch);
  Scales scales[kChunk];
  for (int64_t g = 0; g < groups; ++g) scales[g].set(Format::scales(tiles, g));
  for (; tokens >= kTokens; tokens -= kTokens, first += kTokens, out += kTokens * out_stride) {
    add_rows<Format, kTokens>(weights, scales, x, group, groups, first, out, out_stride);
    weights.fetched();
  }
  if (tokens == 3) add_rows<Format, 3>(weights, scales, x, group, groups, first, out, out_stride);
  if (tokens == 2) add_rows<Format, 2>(weights, scales, x, group, groups, first, out, out_stride);
  if (tokens == 1) add_rows<Format, 1>(weights, scales, x, group, groups, first, out, out_stride);
}

constexpr int64_t kFewTokens = 8;  // for which it does not pay to take weights apart beforehand

/// Several tokens; sums lie in `out`.
template <class Format>
void multiply_many(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                   int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int i = 0; i < kParts; ++i) {
      _mm256_storeu_ps(out + t * out_stride + 8 * i, _mm256_setzero_ps());
    }
  }
  for (int64_t g = 0; g < groups; g += kChunk) {
    const int64_t count = groups - g < kChunk ? groups - g : kChunk;
    const uint8_t* tiles = Format::weights(block, g);
    if (tokens <= kFewTokens) {
      add_chunk<Format, Packed<Format>>(tiles, x, g, count, first, tokens, out, out_stride,
                                        prefetch);
    } else {
      add_chunk<Format, Unpacked<Format>>(tiles, x, g, count, first, tokens, out, out_stride,
                                          prefetch);
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
