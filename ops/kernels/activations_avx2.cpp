#include "lanes_avx2.h"
// The kernels below are written for the Lanes above.
#include "activations_impl.h"
#include "functions.h"

namespace lfm {

const VectorKernels vectors_avx2 = {
    {{prepare_f32, swiglu_f32}, {prepare_int8, swiglu_int8}}, dots, add_scaled};

}  // namespace lfm
