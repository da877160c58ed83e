#include "team.h"

#include <algorithm>
#include <thread>

namespace lfm {
namespace {

// A piece is this part of what is left of a stretch: long at first, so that weights stream, a
// single task at the end, so that all threads are done at once.
constexpr int64_t kPieceOfStretch = 8;

struct alignas(64) Stretch {
  std::atomic<int64_t> next{0};
  int64_t end = 0;

  int64_t left() const { return end - next.load(std::memory_order_relaxed); }

  // Takes the next piece, `begin` to the result; empty where none is left.
  int64_t take(int64_t* begin) {
    *begin = next.load(std::memory_order_relaxed);
    for (;;) {
      const int64_t piece = (end - *begin + kPieceOfStretch - 1) / kPieceOfStretch;
      if (piece <= 0) return *begin;
      if (next.compare_exchange_weak(*begin, *begin + piece, std::memory_order_relaxed)) {
        return *begin + piece;
      }
    }
  }
};

struct Job {
  using Function = void (*)(const void*, int64_t, int64_t, int);

  Job(int64_t tasks, int count, Function work, const void* argument)
      : stretches(count), function(work), user(argument) {
    for (int i = 0; i < count; ++i) {
      stretch[i].next = tasks * i / count;
      stretch[i].end = tasks * (i + 1) / count;
    }
  }

  void work() {
    const int worker = arrived.fetch_add(1, std::memory_order_relaxed);
    const int now = present.fetch_add(1, std::memory_order_relaxed) + 1;
    if (now > most_present.load(std::memory_order_relaxed)) most_present = now;
    if (worker < stretches) finish(stretch[worker], worker);
    while (Stretch* longest = most_left()) finish(*longest, worker, 1);
    present.fetch_sub(1, std::memory_order_relaxed);
  }

  // Takes pieces of a stretch until none is left, or `pieces` of them.
  void finish(Stretch& s, int worker, int64_t pieces = INT64_MAX) {
    for (; pieces > 0; --pieces) {
      int64_t begin = 0;
      const int64_t piece_end = s.take(&begin);
      if (begin == piece_end) return;
      function(user, begin, piece_end, worker);
    }
  }

  Stretch* most_left() {
    Stretch* longest = nullptr;
    for (int i = 0; i < stretches; ++i) {
      if (stretch[i].left() > (longest ? longest->left() : 0)) longest = &stretch[i];
    }
    return longest;
  }

  Stretch stretch[TeamSize::kMost];
  int stretches;
  Function function;
  const void* user;
  std::atomic<int> arrived{0};
  std::atomic<int> present{0};
  std::atomic<int> most_present{0};
};

}  // namespace

int TeamSize::most() {
  static const int count =
      std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMost);
  return count;
}

void Team::run(int64_t tasks, Function function, const void* user) {
  const int64_t invocations = std::min<int64_t>(tasks, TeamSize::most());
  if (invocations <= 1) {
    if (tasks > 0) function(user, 0, tasks, 0);
    return;
  }
  const int owners = static_cast<int>(std::min<int64_t>(invocations, size_.expected()));
  Job job(tasks, owners, function, user);
  const auto work = [](void* pointer, size_t) { static_cast<Job*>(pointer)->work(); };
  check(context_.api(), ort_KernelContext_ParallelFor(context_.api())(
                            context_.handle(), work, static_cast<size_t>(invocations), 0, &job));
  size_.saw(job.most_present.load(std::memory_order_relaxed));
}

}  // namespace lfm
