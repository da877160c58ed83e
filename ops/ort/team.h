// The threads of a session at work on the tasks of one call: phases follow one another without a
// return to ONNX Runtime, and whoever ends a phase begins the next.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "context.h"
#include "shares.h"
#include "work.h"

namespace lfm {

// How many threads a session has is not told by the ABI, so it is learnt: the most that were seen
// at work at once. Only the size of stretches depends on it, never a result.
class TeamSize {
 public:
  static constexpr int kMost = Shares::kMostOwners;
  static int most();  // threads that could ever run at once, at most kMost

  int expected() const {
    const int seen = seen_.load(std::memory_order_relaxed);
    return seen > 0 ? seen : most();
  }
  void saw(int threads) {
    if (threads > seen_.load(std::memory_order_relaxed)) {
      seen_.store(threads, std::memory_order_relaxed);
    }
  }

 private:
  std::atomic<int> seen_{0};
};

class Team {
 public:
  Team(const Context& context, TeamSize& size) : context_(context), size_(size) {}

  // How many workers there may be: `scratch` needs a part for each.
  static int workers() { return TeamSize::most(); }
  static size_t scratch_bytes(const Work& work) { return workers() * worker_bytes(work); }

  // Runs all tasks; at no time do two threads have the same part of `scratch`. `work` must not
  // throw.
  void run(Work& work, std::byte* scratch);

 private:
  static size_t worker_bytes(const Work& work);

  const Context& context_;
  TeamSize& size_;
};

}  // namespace lfm
