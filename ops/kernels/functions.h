// Every kernel's name: operation, format of the weights, instruction set.
#pragma once

#include "kernels.h"

namespace lfm {

extern Matmul matmul_q4_scalar, matmul_q8_scalar, matmul_f32_scalar;
extern Prepare prepare_int8_scalar, prepare_f32_scalar;
extern Swiglu swiglu_int8_scalar, swiglu_f32_scalar;
extern Dots dots_scalar;
extern AddScaled add_scaled_scalar;

extern Matmul matmul_q4_avx2, matmul_q8_avx2, matmul_f32_avx2;
extern Prepare prepare_int8_avx2;
extern Swiglu swiglu_int8_avx2, swiglu_f32_avx2;
extern Dots dots_avx2;
extern AddScaled add_scaled_avx2;

extern Matmul matmul_q4_avx512vnni, matmul_q8_avx512vnni, matmul_f32_avx512;
extern Prepare prepare_int8_avx512;
extern Swiglu swiglu_int8_avx512, swiglu_f32_avx512;
extern Dots dots_avx512;
extern AddScaled add_scaled_avx512;

extern Matmul matmul_q4_neon_dotprod, matmul_q8_neon_dotprod;
extern Matmul matmul_q4_neon_i8mm, matmul_q8_neon_i8mm;
extern Matmul matmul_f32_neon;
extern Prepare prepare_int8_neon;
extern Swiglu swiglu_int8_neon, swiglu_f32_neon;
extern Dots dots_neon;
extern AddScaled add_scaled_neon;

}  // namespace lfm
