#include "stateful.h"

namespace lfm {

extern const StatefulKernels stateful_scalar, stateful_avx2, stateful_avx512, stateful_neon;

const StatefulKernels& stateful_kernels_for(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return stateful_avx2;
    case Isa::kAvx512Vnni:
      return stateful_avx512;
#elif defined(__aarch64__)
    case Isa::kNeonDotprod:
    case Isa::kNeonI8mm:
      return stateful_neon;
#endif
    default:
      return stateful_scalar;
  }
}

}  // namespace lfm
