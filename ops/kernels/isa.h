// The instruction sets that kernels are written for, and which of them this CPU has.
#pragma once

#include <string>

namespace lfm {

enum class Isa { kScalar, kAvx2, kAvxVnni, kAvx512Vnni, kNeonDotprod, kNeonI8mm };

/// The name that LFM_OPS_ISA takes: "scalar", "avx2", "avxvnni", "avx512vnni", "neon_dotprod",
/// "neon_i8mm".
const char* isa_name(Isa isa);

/// Whether this build has kernels for `isa` and this CPU runs them.
bool isa_available(Isa isa);

/// The fastest one available.
Isa best_isa();

/// What the environment variable LFM_OPS_ISA forces, else `best_isa()`. Where it names an unknown
/// or unavailable one, `error` says so and the result is `best_isa()`.
Isa choose_isa(std::string& error);

}  // namespace lfm
