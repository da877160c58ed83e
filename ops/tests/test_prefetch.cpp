// How far ahead weights are fetched: what trials find, and what the environment fixes.
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "check.h"
#include "prefetch_trials.h"

using namespace lfm;

namespace {

/// A run of one token on a machine that is fastest with one distance.
void run_fastest_with(ptrdiff_t distance, std::vector<ptrdiff_t>& seen) {
  seen.push_back(prefetch_bytes);
  const int milliseconds = prefetch_bytes == distance ? 1 : 20;
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

std::string begin_with(const char* variable) {
  variable == nullptr ? unsetenv("LFM_OPS_PREFETCH") : setenv("LFM_OPS_PREFETCH", variable, 1);
  return begin_prefetching(4608);
}

}  // namespace

TEST(a_node_tries_each_distance_and_the_fastest_stays) {
  CHECK(begin_with(nullptr).empty(), "");
  PrefetchTrials node;
  std::vector<ptrdiff_t> seen;
  for (int i = 0; i < 3 * kPrefetchesTried; ++i) {
    CHECK(prefetch_bytes == 4608, "before run %d: %ld", i, long(prefetch_bytes));
    node.run([&] { run_fastest_with(2304, seen); });
  }
  for (int i = 0; i < 3 * kPrefetchesTried; ++i) {
    CHECK(seen[size_t(i)] == kPrefetchTried[i % kPrefetchesTried], "run %d", i);
  }
  CHECK(prefetch_bytes == 2304, "%ld", long(prefetch_bytes));
  node.run([&] { run_fastest_with(2304, seen); });
  CHECK(seen.back() == 2304, "%ld", long(seen.back()));
}

TEST(nodes_decide_together) {
  PrefetchTrials slow[2];  // after the node above, for which 2304 was best
  std::vector<ptrdiff_t> seen;
  for (PrefetchTrials& node : slow) {
    for (int i = 0; i < 3 * kPrefetchesTried; ++i) {
      node.run([&] { run_fastest_with(1152, seen); });
    }
  }
  CHECK(prefetch_bytes == 1152, "%ld", long(prefetch_bytes));
}

TEST(the_environment_fixes_it) {
  CHECK(begin_with("700").empty(), "");
  PrefetchTrials node;
  std::vector<ptrdiff_t> seen;
  for (int i = 0; i < 2 * kPrefetchesTried; ++i) node.run([&] { run_fastest_with(0, seen); });
  for (ptrdiff_t bytes : seen) CHECK(bytes == 700, "%ld", long(bytes));
  for (const char* wrong : {"-1", "1e3", "far", "12 ", "99999999999999999999"}) {
    const std::string error = begin_with(wrong);
    CHECK(error.find(wrong) != std::string::npos, "%s: %s", wrong, error.c_str());
  }
}
