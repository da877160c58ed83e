// The sharing out of tasks: each is done once, by one worker at a time, and a slow core holds
// nobody up.
#include <algorithm>

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

/// How long workers of these speeds need for tasks of one second each, taken as `Shares` gives
/// them.
double seconds_needed(int64_t tasks, const std::vector<double>& speeds) {
  lfm::Shares shares;
  shares.reset(tasks, static_cast<int>(speeds.size()));
  std::vector<double> free_at(speeds.size(), 0.0);
  for (double last = 0;;) {
    const auto next = std::min_element(free_at.begin(), free_at.end());
    const size_t worker = static_cast<size_t>(next - free_at.begin());
    int64_t begin = 0;
    const int64_t end = shares.take(static_cast<int>(worker), &begin);
    if (begin == end) return last;
    *next += static_cast<double>(end - begin) / speeds[worker];
    last = std::max(last, *next);
  }
}

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

TEST(a_slow_core_holds_nobody_up) {
  for (const std::vector<double>& speeds : std::vector<std::vector<double>>{
           {1, 1}, {1, 1.0 / 3}, {1, 1, 0.4, 0.4}, {1, 0.9, 0.8, 0.3, 0.3, 0.3, 0.3, 0.3}}) {
    double together = 0;
    for (const double speed : speeds) together += speed;
    const double best = 1000 / together;
    const double slowest_task = 1 / *std::min_element(speeds.begin(), speeds.end());
    const double needed = seconds_needed(1000, speeds);
    CHECK(needed <= 1.01 * best + slowest_task, "%zu workers: %g s, %g at best", speeds.size(),
          needed, best);
  }
}

TEST(a_worker_takes_neighbouring_tasks) {
  lfm::Shares shares;
  shares.reset(800, 2);
  int64_t begin = 0, expected = 400;
  for (int pieces = 0; pieces < 8; ++pieces) {
    const int64_t end = shares.take(1, &begin);
    CHECK(begin == expected && end > begin, "%d", static_cast<int>(begin));
    expected = end;
  }
  CHECK(expected > 400 + 400 / 2, "eight pieces are more than half a stretch");
}
