// How many 8-bit products a second the registers alone allow, measured by what the kernels use.
#pragma once

#include <cstdint>

#include "isa.h"

#if defined(__aarch64__)

// The assembler takes an instruction only in a function that is compiled for it.
#if defined(__clang__)
#define LFM_COMPILED_FOR(extension) __attribute__((target(extension)))
#else
#define LFM_COMPILED_FOR(extension) __attribute__((target("arch=armv8.2-a+" extension)))
#endif

LFM_COMPILED_FOR("i8mm") inline void repeat_eight_smmla(int64_t loops) {
  for (int64_t i = 0; i < loops; ++i) {
    asm volatile(
        "smmla v0.4s, v16.16b, v17.16b\n smmla v1.4s, v16.16b, v17.16b\n"
        "smmla v2.4s, v16.16b, v17.16b\n smmla v3.4s, v16.16b, v17.16b\n"
        "smmla v4.4s, v16.16b, v17.16b\n smmla v5.4s, v16.16b, v17.16b\n"
        "smmla v6.4s, v16.16b, v17.16b\n smmla v7.4s, v16.16b, v17.16b\n" ::
            : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7");
  }
}

LFM_COMPILED_FOR("dotprod") inline void repeat_eight_sdot(int64_t loops) {
  for (int64_t i = 0; i < loops; ++i) {
    asm volatile(
        "sdot v0.4s, v16.16b, v17.16b\n sdot v1.4s, v16.16b, v17.16b\n"
        "sdot v2.4s, v16.16b, v17.16b\n sdot v3.4s, v16.16b, v17.16b\n"
        "sdot v4.4s, v16.16b, v17.16b\n sdot v5.4s, v16.16b, v17.16b\n"
        "sdot v6.4s, v16.16b, v17.16b\n sdot v7.4s, v16.16b, v17.16b\n" ::
            : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7");
  }
}

#endif

/// Does many products and returns how many.
inline double peak_products(lfm::Isa isa) {
  constexpr int64_t kLoops = 3000000;
  int64_t each = 0;
#if defined(__x86_64__)
  if (isa == lfm::Isa::kAvx512Vnni) {
    each = 16 * 64;
    for (int64_t i = 0; i < kLoops; ++i) {
      asm volatile(
          "vpdpbusd %%zmm16, %%zmm17, %%zmm0\n vpdpbusd %%zmm16, %%zmm17, %%zmm1\n"
          "vpdpbusd %%zmm16, %%zmm17, %%zmm2\n vpdpbusd %%zmm16, %%zmm17, %%zmm3\n"
          "vpdpbusd %%zmm16, %%zmm17, %%zmm4\n vpdpbusd %%zmm16, %%zmm17, %%zmm5\n"
          "vpdpbusd %%zmm16, %%zmm17, %%zmm6\n vpdpbusd %%zmm16, %%zmm17, %%zmm7\n"
          "vpdpbusd %%zmm16, %%zmm17, %%zmm8\n vpdpbusd %%zmm16, %%zmm17, %%zmm9\n"
          "vpdpbusd %%zmm16, %%zmm17, %%zmm10\n vpdpbusd %%zmm16, %%zmm17, %%zmm11\n"
          "vpdpbusd %%zmm16, %%zmm17, %%zmm12\n vpdpbusd %%zmm16, %%zmm17, %%zmm13\n"
          "vpdpbusd %%zmm16, %%zmm17, %%zmm14\n vpdpbusd %%zmm16, %%zmm17, %%zmm15\n" ::
              : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    }
  } else if (isa == lfm::Isa::kAvxVnni) {
    each = 12 * 32;
    for (int64_t i = 0; i < kLoops; ++i) {
      asm volatile(
          "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm0\n %{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm1\n"
          "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm2\n %{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm3\n"
          "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm4\n %{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm5\n"
          "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm6\n %{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm7\n"
          "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm8\n %{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm9\n"
          "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm10\n"
          "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm11\n" ::
              : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                "xmm10", "xmm11");
    }
  } else {
    each = 8 * 32;
    for (int64_t i = 0; i < kLoops; ++i) {
      asm volatile(
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm8\n vpaddw %%ymm8, %%ymm0, %%ymm0\n"
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm9\n vpaddw %%ymm9, %%ymm1, %%ymm1\n"
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm10\n vpaddw %%ymm10, %%ymm2, %%ymm2\n"
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm11\n vpaddw %%ymm11, %%ymm3, %%ymm3\n"
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm8\n vpaddw %%ymm8, %%ymm4, %%ymm4\n"
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm9\n vpaddw %%ymm9, %%ymm5, %%ymm5\n"
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm10\n vpaddw %%ymm10, %%ymm6, %%ymm6\n"
          "vpmaddubsw %%ymm12, %%ymm13, %%ymm11\n vpaddw %%ymm11, %%ymm7, %%ymm7\n" ::
              : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                "xmm10", "xmm11");
    }
  }
#elif defined(__aarch64__)
  const bool wide = isa == lfm::Isa::kNeonI8mm;
  each = 8 * (wide ? 32 : 16);
  wide ? repeat_eight_smmla(kLoops) : repeat_eight_sdot(kLoops);
#else
  (void)isa;
#endif
  return static_cast<double>(kLoops * each);
}
