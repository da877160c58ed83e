// How many threads to compute with.
#pragma once

namespace lfm::core {

constexpr int kMostThreads = 1024;

// One per physical core that this process may use; where cores are of several kinds, as on phones,
// one per core that is not of the slowest.
int default_threads();

}  // namespace lfm::core
