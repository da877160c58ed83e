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

// Asked of the CPU itself: what `__builtin_cpu_supports` reads is always empty in zig's libraries.
// Bits of CPUID and XCR0: Intel's manual, volume 1, chapters 14 and 15, and volume 2, CPUID.
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers found;
  __get_cpuid_count(leaf, subleaf, &found.a, &found.b, &found.c, &found.d);
  return found;
}

bool all_of(unsigned bits, unsigned wanted) { return (bits & wanted) == wanted; }

/// Which registers the system keeps for each process.
unsigned kept_registers() {
  constexpr unsigned kOsxsave = 1u << 27;
  if (!all_of(cpuid(1, 0).c, kOsxsave)) return 0;
  unsigned low = 0, high = 0;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

bool has(Isa isa) {
  constexpr unsigned kYmm = 6, kZmm = 0xe6;
  constexpr unsigned kFma = 1u << 12, kAvx = 1u << 28, kF16c = 1u << 29;
  constexpr unsigned kAvx2 = 1u << 5, kAvxVnni = 1u << 4, kAvx512Vnni = 1u << 11;
  constexpr unsigned kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  const Registers features = cpuid(7, 0);
  const unsigned kept = kept_registers();
  const bool avx2 =
      all_of(kept, kYmm) && all_of(cpuid(1, 0).c, kFma | kAvx | kF16c) && all_of(features.b, kAvx2);
  if (isa == Isa::kAvx2) return avx2;
  if (isa == Isa::kAvxVnni) return avx2 && all_of(cpuid(7, 1).a, kAvxVnni);
  return isa == Isa::kAvx512Vnni && avx2 && all_of(kept, kZmm) && all_of(features.b, kAvx512) &&
         all_of(features.c, kAvx512Vnni);
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
