#include "kernels.h"

#include "functions.h"

namespace lfm {
namespace {

constexpr Kernels kScalar = {
    Isa::kScalar,
    {matmul_f32_scalar, matmul_q8_scalar, matmul_q6_scalar, matmul_q4_scalar, matmul_q4_64_scalar},
    vectors_scalar,
    0,
    0};

#if defined(__x86_64__)

constexpr Kernels kAvx2 = {
    Isa::kAvx2,
    {matmul_f32_avx2, matmul_q8_avx2, matmul_q6_avx2, matmul_q4_avx2, matmul_q4_64_avx2},
    vectors_avx2,
    4608,
    1152};

constexpr Kernels kAvxVnni = {Isa::kAvxVnni,
                              {matmul_f32_avx2, matmul_q8_avxvnni, matmul_q6_avxvnni,
                               matmul_q4_avxvnni, matmul_q4_64_avxvnni},
                              vectors_avx2,
                              4608,
                              1152};

constexpr Kernels kAvx512Vnni = {Isa::kAvx512Vnni,
                                 {matmul_f32_avx512, matmul_q8_avx512vnni, matmul_q6_avx512vnni,
                                  matmul_q4_avx512vnni, matmul_q4_64_avx512vnni},
                                 vectors_avx512,
                                 4608,
                                 1152};

#elif defined(__aarch64__)

constexpr Kernels kNeonDotprod = {Isa::kNeonDotprod,
                                  {matmul_f32_neon, matmul_q8_neon_dotprod, matmul_q6_neon_dotprod,
                                   matmul_q4_neon_dotprod, matmul_q4_64_neon_dotprod},
                                  vectors_neon,
                                  0,
                                  0};

constexpr Kernels kNeonI8mm = {Isa::kNeonI8mm,
                               {matmul_f32_neon, matmul_q8_neon_i8mm, matmul_q6_neon_i8mm,
                                matmul_q4_neon_i8mm, matmul_q4_64_neon_i8mm},
                               vectors_neon,
                               0,
                               0};

#endif

}  // namespace

const Kernels& kernels_for(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2:
      return kAvx2;
    case Isa::kAvxVnni:
      return kAvxVnni;
    case Isa::kAvx512Vnni:
      return kAvx512Vnni;
#elif defined(__aarch64__)
    case Isa::kNeonDotprod:
      return kNeonDotprod;
    case Isa::kNeonI8mm:
      return kNeonI8mm;
#endif
    default:
      return kScalar;
  }
}

}  // namespace lfm
