#include "team.h"

#include <algorithm>
#include <thread>

#include "scratch.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lfm {
namespace {

constexpr int kSpins = 4000;  // before a waiting thread lets others run; some tens of microseconds

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Each phase has shares of its own, so that a worker that lags behind finds those of its phase
// taken.
class Job {
 public:
  Job(Work& work, std::byte* scratch, size_t worker_bytes, int owners)
      : work_(work), scratch_(scratch), worker_bytes_(worker_bytes), owners_(owners) {
    begin(0);
  }

  void join() {
    const int worker = arrived_.fetch_add(1, std::memory_order_relaxed);
    const int now = present_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (now > most_present_.load(std::memory_order_relaxed)) most_present_ = now;
    int phase = phase_.load(std::memory_order_acquire);
    while (phase < work_.phases()) {
      help(phase, worker);
      phase = wait_for_end(phase);
    }
    present_.fetch_sub(1, std::memory_order_relaxed);
  }

  int most_present() const { return most_present_; }

 private:
  // Opens the first phase from `phase` on that has tasks.
  void begin(int phase) {
    while (phase < work_.phases() && work_.tasks(phase) == 0) ++phase;
    if (phase < work_.phases()) {
      const int64_t tasks = work_.tasks(phase);
      left_.store(tasks, std::memory_order_relaxed);
      shares_[phase].reset(tasks, owners_);
    }
    phase_.store(phase, std::memory_order_release);
  }

  void help(int phase, int worker) {
    int64_t first = 0;
    for (;;) {
      const int64_t end = shares_[phase].take(worker, &first);
      if (first == end) return;
      work_.run(phase, first, end, scratch_ + worker * worker_bytes_);
      if (left_.fetch_sub(end - first, std::memory_order_acq_rel) == end - first) {
        return begin(phase + 1);
      }
    }
  }

  int wait_for_end(int phase) const {
    for (int spins = 0;; ++spins) {
      const int now = phase_.load(std::memory_order_acquire);
      if (now != phase) return now;
      if (spins < kSpins) {
        pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  Work& work_;
  std::byte* scratch_;
  size_t worker_bytes_;
  int owners_;
  std::atomic<int> phase_{0};
  std::atomic<int64_t> left_{0};  // tasks of the phase that have not ended
  std::atomic<int> arrived_{0};
  std::atomic<int> present_{0};
  std::atomic<int> most_present_{0};
  Shares shares_[Work::kMostPhases];
};

}  // namespace

int TeamSize::most() {
  static const int count =
      std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMost);
  return count;
}

size_t Team::worker_bytes(const Work& work) { return Scratch::aligned(work.scratch_bytes()); }

void Team::run(Work& work, std::byte* scratch) {
  if (workers() == 1 || (work.phases() == 1 && work.tasks(0) <= 1)) {
    for (int phase = 0; phase < work.phases(); ++phase) {
      if (work.tasks(phase) > 0) work.run(phase, 0, work.tasks(phase), scratch);
    }
    return;
  }
  Job job(work, scratch, worker_bytes(work), size_.expected());
  const auto join = [](void* pointer, size_t) { static_cast<Job*>(pointer)->join(); };
  check(context_.api(), ort_KernelContext_ParallelFor(context_.api())(
                            context_.handle(), join, static_cast<size_t>(workers()), 0, &job));
  size_.saw(job.most_present());
}

}  // namespace lfm
