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
  void run(TeamSize& size, lfm::Work& work) {
    std::vector<std::byte> scratch(Team::scratch_bytes(work));
    Team(context, size).run(work, scratch.data());
  }

  fake::Call call{};
  Context context{fake::api(), reinterpret_cast<OrtKernelContext*>(&call), nullptr, nullptr};
};

/// Phases of so many tasks each; every phase must find the one before complete.
class Counted final : public lfm::Work {
 public:
  explicit Counted(std::vector<int64_t> tasks) : tasks_(std::move(tasks)) {
    for (int64_t count : tasks_) done.emplace_back(count);
  }
  int phases() const override { return static_cast<int>(tasks_.size()); }
  int64_t tasks(int phase) const override { return tasks_[phase]; }
  int64_t scratch_bytes() const override { return sizeof(std::atomic<int>); }
  void run(int phase, int64_t begin, int64_t end, void* scratch) override {
    auto* inside = static_cast<std::atomic<int>*>(scratch);
    if (inside->fetch_add(1) != 0) alone = false;
    for (int p = 0; p < phase; ++p) {
      for (const auto& times : done[p]) in_order = in_order && times == 1;
    }
    for (int64_t i = begin; i < end; ++i) ++done[phase][i];
    inside->fetch_sub(1);
  }

  std::vector<std::vector<std::atomic<int>>> done;
  std::atomic<bool> alone{true}, in_order{true};

 private:
  std::vector<int64_t> tasks_;
};

/// One phase whose tasks take two milliseconds, on other threads than the caller's three times as
/// long.
class Uneven final : public lfm::Work {
 public:
  static constexpr int64_t kTasks = 200;
  int phases() const override { return 1; }
  int64_t tasks(int) const override { return kTasks; }
  int64_t scratch_bytes() const override { return 0; }
  void run(int, int64_t begin, int64_t end, void*) override {
    const bool is_fast = std::this_thread::get_id() == fast_;
    for (int64_t i = begin; i < end; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(is_fast ? 2 : 6));
      if (is_fast) ++by_fast;
    }
  }

  std::atomic<int> by_fast{0};

 private:
  std::thread::id fast_ = std::this_thread::get_id();
};

}  // namespace

TEST(each_task_is_done_once_and_after_the_phases_before) {
  for (int count : {1, 2, 5}) {
    Threads threads(count);
    TeamSize size;
    for (const std::vector<int64_t>& tasks : std::vector<std::vector<int64_t>>{
             {0}, {1}, {2}, {31}, {1000}, {0, 3}, {3, 0}, {1, 1, 1}, {7, 1, 0, 100, 2, 40, 1, 9}}) {
      for (int round = 0; round < 20; ++round) {
        Counted work(tasks);
        threads.run(size, work);
        CHECK(work.alone, "two threads had one worker's memory at the same time");
        CHECK(work.in_order, "a phase began before the one before had ended");
        for (const auto& phase : work.done) {
          for (const auto& times : phase) CHECK(times == 1, "of %d threads", count);
        }
      }
    }
  }
}

// Of two threads one is three times slower: it should do a quarter.
TEST(a_slow_core_holds_nobody_up) {
  if (Team::workers() < 2) return;
  Threads threads(2);
  TeamSize size;
  int by_fast = 0;
  for (int round = 0; round < 2; ++round) {
    Uneven work;
    threads.run(size, work);
    by_fast = work.by_fast;
  }
  CHECK(by_fast > Uneven::kTasks * 0.68 && by_fast < Uneven::kTasks * 0.82, "%d", by_fast);
}
