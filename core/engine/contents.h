// What a session holds, and how its state gets back to an earlier position.
//
// The caches of keys and values keep every position, so going back means nothing to them. A
// convolution keeps its last inputs alone. They follow from running the last tokens before the
// position again, on an empty conv state, where a graph can be told that these tokens stand in its
// cache already (Runtime::replay); elsewhere copies of the conv state are kept on the way
// (Checkpoints), and what was read since the last one is read again. Either way this happens with
// the next run, which has to be made anyway.
//
// A sliding layer's cache may keep its last positions alone, in slots that are used again. Further
// back more tokens are run again, from which its keys and values follow (Windows).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/checkpoints.h"
#include "engine/state.h"
#include "engine/token_ids.h"

namespace lfm::core {

// A part [begin, end) of some tokens.
struct Run {
  int64_t begin, end;
};

// The runs in which `count` tokens are read; `replay` others are read again before them, and share
// their first run.
std::vector<Run> runs_of(int64_t count, int64_t replay = 0);

// Tokens and the state that they led to.
class Contents {
 public:
  Contents(std::shared_ptr<const Runtime> runtime, int64_t capacity);

  const std::vector<int32_t>& ids() const { return ids_; }
  State& state() { return state_; }
  const State& state() const { return state_; }
  // How many of the tokens that it holds the next run reads again.
  int64_t replay() const;
  // Where a run may begin at the earliest by what the sliding layers keep.
  int64_t earliest() const { return earliest_; }

  void clear();
  // Forgets what was read from a position on.
  void rewind(int64_t position);
  // The last position up to this one at which no token needs to be appended again.
  int64_t reachable(int64_t position) const;
  // Reads tokens, and before them what must be read again; the last one's logits.
  float* append(TokenIds tokens);

  // A conv state that leads to its end.
  KnownConv conv() const;
  // The one for a file, which has room for one: where such states are kept, that of the last
  // turn's beginning.
  KnownConv conv_to_save() const;
  // Takes ids whose keys and values were written to the state, and a conv state of them.
  // `earliest` is that of the contents that they come from.
  void fill(TokenIds ids, const KnownConv& known, int64_t earliest);
  // Takes a conv state of one of its positions for what `conv` gave there.
  void set_conv(const KnownConv& known);
  // Fills empty contents with others of the same runtime and capacity.
  void copy_from(const Contents& other);

 private:
  // Where the next run begins, and the conv state it needs there, if not the one it has.
  struct Start {
    int64_t position;
    bool keeps_conv;
    Conv conv;
    bool anew = false;  // whether sliding layers write what is replayed anew
  };
  Start start() const;
  void keep_conv(int64_t position, size_t reading);
  // Notes that sliding layers took what stands before `end`, in the place of older positions.
  void overwrite(int64_t end);

  State state_;
  std::vector<int32_t> ids_;
  int64_t conv_position_ = 0;  // where the conv state stands, which may be where ids went on to
  int64_t earliest_ = 0;
  Checkpoints checkpoints_;
};

}  // namespace lfm::core
