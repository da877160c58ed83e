#include "base/sha256_blocks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace lfm::core {
namespace {

#if defined(__x86_64__)

// The CPU keeps the state as (a b e f) and (c d g h).
__attribute__((target("sha,sse4.1,ssse3"))) void x86_blocks(uint32_t state[8],
                                                            const unsigned char* data,
                                                            size_t count) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  auto* const halves = reinterpret_cast<__m128i*>(state);
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(halves), 0xB1);
  const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(halves + 1), 0x1B);
  __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xF0);
  for (; count > 0; --count, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
    for (int i = 0; i < 4; ++i) {
      const auto* words = reinterpret_cast<const __m128i*>(data) + i;
      w[i] = _mm_shuffle_epi8(_mm_loadu_si128(words), swap);
    }
    for (int i = 0; i < 16; ++i) {
      const auto* rounds = reinterpret_cast<const __m128i*>(kSha256Rounds) + i;
      const __m128i sum = _mm_add_epi32(w[0], _mm_loadu_si128(rounds));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
      const __m128i older = _mm_sha256msg1_epu32(w[0], w[1]);
      const __m128i next = _mm_add_epi32(older, _mm_alignr_epi8(w[3], w[2], 4));
      w[0] = w[1];
      w[1] = w[2];
      w[2] = w[3];
      w[3] = _mm_sha256msg2_epu32(next, w[3]);
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128(halves, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(halves + 1, _mm_alignr_epi8(dchg, feba, 8));
}

bool has_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & 1u << 29) == 0) return false;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & 1u << 19) != 0;
}

#elif defined(__aarch64__)

bool has_instructions() {
#if defined(__linux__)
  constexpr unsigned long kSha2 = 1ul << 6;
  return (getauxval(AT_HWCAP) & kSha2) != 0;
#else
  return true;  // every Apple CPU has them
#endif
}

#endif

}  // namespace

Sha256Blocks native_sha256_blocks() {
#if defined(__x86_64__)
  return has_instructions() ? x86_blocks : nullptr;
#elif defined(__aarch64__)
  return has_instructions() ? arm_sha256_blocks() : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace lfm::core
