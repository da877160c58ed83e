// The sharing out of tasks: each is done once, by one worker at a time, and a slow core holds
// nobody up.
#include <chrono>
#include <thread>

#include "check.h"
#include "fake_ort.h"
#include "team.h"

using lfm::Context;
using lfm::Team;
using lfm::TeamSize;

namespace {

struct Threads {
  explicit Threads(int count) { call.threads = count; }
  Team team(TeamSize& size) { return Team(context, size); }

  fake::Call call{};
  Context context{fake::api(), reinterpret_cast<OrtKernelContext*>(&call), nullptr, nullptr};
};

}  // namespace

TEST(each_task_is_done_once) {
  for (int count : {1, 2, 5}) {
    Threads threads(count);
    TeamSize size;
    for (int64_t tasks : {0, 1, 2, 3, 31, 1000}) {
      std::vector<std::atomic<int>> done(tasks), inside(Team::workers());
      std::atomic<bool> alone{true};
      threads.team(size).run(tasks, [&](int64_t begin, int64_t end, int worker) {
        if (inside[worker]++ != 0) alone = false;
        for (int64_t i = begin; i < end; ++i) ++done[i];
        --inside[worker];
      });
      CHECK(alone, "two calls had one worker at the same time");
      for (auto& times : done) CHECK(times == 1, "of %d threads", count);
    }
  }
}

// Of two threads one is three times slower: it should do a quarter.
TEST(a_slow_core_holds_nobody_up) {
  if (Team::workers() < 2) return;
  constexpr int kTasks = 200;
  Threads threads(2);
  TeamSize size;
  const std::thread::id fast = std::this_thread::get_id();
  std::atomic<int> by_fast{0};
  for (int round = 0; round < 2; ++round) {
    by_fast = 0;
    threads.team(size).run(kTasks, [&](int64_t begin, int64_t end, int) {
      const bool is_fast = std::this_thread::get_id() == fast;
      for (int64_t i = begin; i < end; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(is_fast ? 2 : 6));
        if (is_fast) ++by_fast;
      }
    });
  }
  CHECK(by_fast > kTasks * 0.68 && by_fast < kTasks * 0.82, "%d", by_fast.load());
}
