// Conv states kept on the way, for graphs that cannot replay.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/state.h"

namespace lfm::core {

// A conv state and where it stands; position -1: none is known.
struct KnownConv {
  int64_t position = -1;
  Conv conv;
};

// Conv states at some positions, from the first to the last. Beyond 64 those go that leave the
// smallest gaps, so that a long conversation can go back anywhere at a cost that grows slowly.
class Checkpoints {
 public:
  // The last position with a conv state; 0, where it is empty, if there is none.
  int64_t last() const { return kept_.empty() ? 0 : kept_.back().position; }
  // Keeps the conv state of a position from the last one on.
  void add(int64_t position, Conv conv);
  // The last position up to this one with a known conv state, and this state.
  KnownConv before(int64_t position) const;
  void drop_after(int64_t position);

 private:
  size_t count_up_to(int64_t position) const;

  std::vector<KnownConv> kept_;
};

}  // namespace lfm::core
