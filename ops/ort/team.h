// The threads of a session at work on one phase: independent tasks, shared out.
//
// Every worker owns a stretch of neighbouring tasks and takes it piece by piece from the front, so
// that weights stream through memory as if the split were fixed; pieces shrink as a stretch ends,
// and who is done helps whoever has most left, so that a slow core holds nobody up.
#pragma once

#include <atomic>
#include <cstdint>

#include "context.h"

namespace lfm {

// How many threads a session has is not told by the ABI, so it is learnt: the most that were seen
// at work at once. Only the size of stretches depends on it, never a result.
class TeamSize {
 public:
  static constexpr int kMost = 64;
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

  // How many workers there may be: scratch of one's own needs as many.
  static int workers() { return TeamSize::most(); }

  // Calls `work(begin, end, worker)` until all tasks are done; at no time do two calls have the
  // same worker. `work` must not throw.
  template <class Work>
  void run(int64_t tasks, const Work& work) {
    run(
        tasks,
        [](const void* user, int64_t begin, int64_t end, int worker) {
          (*static_cast<const Work*>(user))(begin, end, worker);
        },
        &work);
  }

 private:
  using Function = void (*)(const void* user, int64_t begin, int64_t end, int worker);
  void run(int64_t tasks, Function function, const void* user);

  const Context& context_;
  TeamSize& size_;
};

}  // namespace lfm
