// Finds out how far ahead weights are best fetched on this machine: no distance changes a result,
// so a node tries some while it decodes. One is taken for all nodes: who reads a matrix begins with
// the next.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "prefetch.h"

namespace lfm {

/// Sets the distance for this process, once: what LFM_OPS_PREFETCH fixes, else `first`, from which
/// trials go on; 0 where the kernels fetch nothing ahead. Returns why the variable cannot be
/// obeyed, or nothing.
std::string begin_prefetching(ptrdiff_t first);

/// The trials of one node.
class PrefetchTrials {
 public:
  /// Calls `run` on one token. The first runs of a node are timed with one distance after the
  /// other; then the fastest of each join those of the nodes that were done before, and the
  /// distance with the least sum is taken.
  template <class Run>
  void run(const Run& run) {
    const std::unique_lock<std::mutex> lock = begin();
    run();
    if (lock.owns_lock()) end();
  }

 private:
  static constexpr int kRounds = 3;

  std::unique_lock<std::mutex> begin();  // locks where this run is timed
  void end();

  std::mutex mutex_;
  std::atomic<bool> done_{false};
  int runs_ = 0;
  double begun_ = 0;
  double fastest_[kPrefetchesTried] = {};
};

}  // namespace lfm
