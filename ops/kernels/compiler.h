// What the compilers spell differently.
#pragma once

// Files are compiled for different instruction sets: a function that several of them share must
// not survive as one copy, built for the newest, that older CPUs then run.
#define LFM_INLINE inline __attribute__((always_inline))

#define LFM_INLINE_LAMBDA __attribute__((always_inline))

// Loops over registers must vanish.
#if defined(__clang__)
#define LFM_UNROLL _Pragma("unroll")
#else
#define LFM_UNROLL _Pragma("GCC unroll 32")
#endif
