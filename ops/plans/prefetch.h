// How far ahead of one token's weights they are fetched.
#pragma once

#include <atomic>
#include <cstddef>

namespace lfm {

/// In bytes, for the whole process, 0 for not at all; changes no result. See
/// `ort/prefetch_trials.h` for who finds out what is best.
inline std::atomic<ptrdiff_t> prefetch_bytes{0};

/// Distances that are worth trying.
constexpr ptrdiff_t kPrefetchTried[] = {0, 1152, 2304, 3456, 4608};
constexpr int kPrefetchesTried = sizeof kPrefetchTried / sizeof *kPrefetchTried;

}  // namespace lfm
