#include "lanes_avx512.h"
// The kernels below are written for the Lanes above.
#include "add_norm_impl.h"
#include "attention_impl.h"
#include "norm_rope_impl.h"
#include "short_conv_impl.h"

namespace lfm {

extern const StatefulKernels stateful_avx512;
const StatefulKernels stateful_avx512 = {norm_rope, append, attend,     clear,
                                         merge,     finish, short_conv, add_norm};

}  // namespace lfm
