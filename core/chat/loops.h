// Notices when a model repeats itself without end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lfm::core {

// Finds a text that has become one passage over and over: its last tokens are one block of at most
// 512 tokens, repeated without a change, 4 blocks and 256 tokens long at least. A loop that counts
// ("step 41", "step 42") changes every time and is not found.
class LoopDetector {
 public:
  LoopDetector();

  // Whether the tokens so far, with this one, end in a loop.
  bool push(int32_t token);

 private:
  std::vector<int32_t> tokens_;  // the last ones; those of two windows, so that they move rarely
  std::vector<int32_t> equal_;   // by the longest period first: equal pairs at this distance
  std::vector<int32_t> needed_;
  size_t end_;
};

}  // namespace lfm::core
