// Every kernel's name: operation, format of the weights, instruction set.
#pragma once

#include "kernels.h"

namespace lfm {

extern Matmul matmul_q4_scalar, matmul_q4_64_scalar, matmul_q6_scalar, matmul_q8_scalar,
    matmul_f32_scalar;
extern const VectorKernels vectors_scalar;

extern Matmul matmul_q4_avx2, matmul_q4_64_avx2, matmul_q6_avx2, matmul_q8_avx2, matmul_f32_avx2;
extern const VectorKernels vectors_avx2;

extern Matmul matmul_q4_avxvnni, matmul_q4_64_avxvnni, matmul_q6_avxvnni, matmul_q8_avxvnni;

extern Matmul matmul_q4_avx512vnni, matmul_q4_64_avx512vnni, matmul_q6_avx512vnni,
    matmul_q8_avx512vnni, matmul_f32_avx512;
extern const VectorKernels vectors_avx512;

extern Matmul matmul_q4_neon_dotprod, matmul_q4_64_neon_dotprod, matmul_q6_neon_dotprod,
    matmul_q8_neon_dotprod;
extern Matmul matmul_q4_neon_i8mm, matmul_q4_64_neon_i8mm, matmul_q6_neon_i8mm, matmul_q8_neon_i8mm;
extern Matmul matmul_f32_neon;
extern const VectorKernels vectors_neon;

}  // namespace lfm
