#include "prefetch_trials.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>

namespace lfm {
namespace {

constexpr long kFarthest = 1 << 20;

std::atomic<bool> trying{false};
std::atomic<ptrdiff_t> best{0};

double seconds_now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

/// Takes what a node found: `best` is that for all nodes so far.
void add(const double (&fastest)[kPrefetchesTried]) {
  static std::mutex mutex;
  static double sums[kPrefetchesTried] = {};
  const std::lock_guard<std::mutex> lock(mutex);
  for (int i = 0; i < kPrefetchesTried; ++i) sums[i] += fastest[i];
  best = kPrefetchTried[std::min_element(sums, sums + kPrefetchesTried) - sums];
}

}  // namespace

std::string begin_prefetching(ptrdiff_t first) {
  prefetch_bytes = best = first;
  trying = first > 0;
  const char* fixed = std::getenv("LFM_OPS_PREFETCH");
  if (fixed == nullptr || *fixed == '\0') return "";
  trying = false;
  char* end = nullptr;
  errno = 0;
  const long bytes = std::strtol(fixed, &end, 10);
  if (*end != '\0' || errno != 0 || bytes < 0 || bytes > kFarthest) {
    return std::string("LFM_OPS_PREFETCH=") + fixed + ": expected bytes, 0 to " +
           std::to_string(kFarthest);
  }
  if (first > 0) prefetch_bytes = best = bytes;
  return "";
}

std::unique_lock<std::mutex> PrefetchTrials::begin() {
  std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
  if (!trying.load(std::memory_order_relaxed) || done_.load(std::memory_order_relaxed) ||
      !lock.try_lock() || done_) {
    return {};
  }
  prefetch_bytes = kPrefetchTried[runs_ % kPrefetchesTried];
  begun_ = seconds_now();
  return lock;
}

void PrefetchTrials::end() {
  const double seconds = seconds_now() - begun_;
  double& fastest = fastest_[runs_ % kPrefetchesTried];
  fastest = runs_ < kPrefetchesTried ? seconds : std::min(fastest, seconds);
  if (++runs_ == kRounds * kPrefetchesTried) {
    done_ = true;
    add(fastest_);
  }
  prefetch_bytes = best.load();
}

}  // namespace lfm
