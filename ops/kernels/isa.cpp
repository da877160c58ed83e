#include "isa.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace lfm {
namespace {

constexpr Isa kBestFirst[] = {Isa::kAvx512Vnni, Isa::kAvxVnni,     Isa::kAvx2,
                              Isa::kNeonI8mm,   Isa::kNeonDotprod, Isa::kScalar};

#if defined(__x86_64__)

// Older compilers do not know these by name.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

bool has_avxvnni() {
  constexpr unsigned kAvxVnniBit = 1u << 4;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvxVnniBit) != 0;
}

bool has(Isa isa) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  if (isa == Isa::kAvx2) return avx2;
  if (isa == Isa::kAvxVnni) return avx2 && has_avxvnni();
  return isa == Isa::kAvx512Vnni && avx2 && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

#elif defined(__aarch64__) && defined(__linux__)

// Of the kernel's interface; older C libraries lack the names.
constexpr unsigned long kHwcapDotprod = 1ul << 20;
constexpr unsigned long kHwcap2I8mm = 1ul << 13;

bool has(Isa isa) {
  const bool dotprod = (getauxval(AT_HWCAP) & kHwcapDotprod) != 0;
  if (isa == Isa::kNeonDotprod) return dotprod;
  return isa == Isa::kNeonI8mm && dotprod && (getauxval(AT_HWCAP2) & kHwcap2I8mm) != 0;
}

#elif defined(__aarch64__) && defined(__APPLE__)

bool feature(const char* name) {
  int value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

bool has(Isa isa) {
  const bool dotprod = feature("hw.optional.arm.FEAT_DotProd");
  if (isa == Isa::kNeonDotprod) return dotprod;
  return isa == Isa::kNeonI8mm && dotprod && feature("hw.optional.arm.FEAT_I8MM");
}

#else

bool has(Isa) { return false; }

#endif

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512Vnni:
      return "avx512vnni";
    case Isa::kNeonDotprod:
      return "neon_dotprod";
    case Isa::kNeonI8mm:
      return "neon_i8mm";
  }
  return "unknown";
}

bool isa_available(Isa isa) { return isa == Isa::kScalar || has(isa); }

Isa best_isa() {
  for (Isa isa : kBestFirst) {
    if (isa_available(isa)) return isa;
  }
  return Isa::kScalar;
}

Isa choose_isa(std::string& error) {
  const char* forced = std::getenv("LFM_OPS_ISA");
  if (forced == nullptr || *forced == '\0') return best_isa();
  for (Isa isa : kBestFirst) {
    if (std::strcmp(forced, isa_name(isa)) != 0) continue;
    if (isa_available(isa)) return isa;
    error = std::string("LFM_OPS_ISA=") + forced + ": this CPU does not have it; its best is " +
            isa_name(best_isa());
    return best_isa();
  }
  error = std::string("LFM_OPS_ISA=") + forced +
          ": expected scalar, avx2, avxvnni, avx512vnni, neon_dotprod or neon_i8mm";
  return best_isa();
}

}  // namespace lfm
