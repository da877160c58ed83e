// One conversation's state: tokens go in, logits come out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/contents.h"
#include "engine/runtime.h"
#include "engine/token_ids.h"

namespace lfm::core {

// Who goes on reading a session: a number that is never given twice. 0 is nobody.
using Reader = uint64_t;
Reader new_reader();

// A place that a session can go back to.
class Snapshot {
 public:
  int64_t position() const { return static_cast<int64_t>(ids_.size()); }

 private:
  friend class Session;
  std::vector<int32_t> ids_;
  KnownConv conv_;
  std::shared_ptr<const Runtime> runtime_;
};

struct OpenedSession;

// What the model has read so far, and room for more. Belongs to one thread at a time. Where a run
// fails, the session is empty afterwards.
class Session {
 public:
  // `capacity`: the most tokens that it can hold; see capacity_for. LFM_BUNDLE: no memory for it.
  Session(std::shared_ptr<const Runtime> runtime, int64_t capacity);

  int64_t capacity() const { return capacity_; }
  const Runtime& runtime() const { return *runtime_; }
  // How many tokens it holds, and which.
  int64_t position() const { return static_cast<int64_t>(ids().size()); }
  const std::vector<int32_t>& ids() const { return contents_.ids(); }
  // How many of these the next run reads again, because the session went back.
  int64_t to_replay() const { return contents_.replay(); }

  // Appends tokens, in as many runs as they need. The last one's logits [vocab] lie in the graph's
  // own buffer and hold until the session is next used; the sampler may change them meanwhile.
  // LFM_INVALID_REQUEST, LFM_UNKNOWN_TOKEN, LFM_CONTEXT_FULL: nothing was appended.
  // LFM_BUNDLE: the graph failed to run; the session is then empty.
  float* prefill(TokenIds ids);
  float* decode(int32_t token) { return prefill(TokenIds(&token, 1)); }

  void reset();
  // Forgets the tokens from `position` on. LFM_INVALID_REQUEST: it does not hold so many.
  void rewind(int64_t position);

  // Goes to the longest beginning of `ids` that it holds, and returns what is left to read: the
  // last token at least. `reader` may go on by `read`; whoever read before has no say any more.
  std::vector<int32_t> resume(TokenIds ids, Reader reader = 0);
  // How many of `ids` a `resume` would keep.
  int64_t reachable(TokenIds ids) const;
  // The pieces in which to `read` so many tokens, each of them one run of the graph.
  std::vector<Run> runs(int64_t count) const;
  // What `prefill` does, for the reader of the last `resume`. LFM_SESSION_TAKEN: something else
  // has used the session since.
  float* read(TokenIds ids, Reader reader);

  // A session of its own that holds the same, with the same room. LFM_BUNDLE: no memory for it.
  std::unique_ptr<Session> fork() const;
  Snapshot snapshot() const;
  // Goes back to a snapshot's place. LFM_INVALID_REQUEST: the session no longer holds all of its
  // tokens, or it is another model's.
  void restore(const Snapshot& snapshot);

  // Writes what it holds to a file that takes its name when it is whole, with a text of whoever
  // saves it. LFM_SESSION_FILE: it cannot be written; nothing is left of it.
  void save(const std::string& path, std::string_view attached = {}) const;
  // A session with what `save` wrote, here or in Python; `context` 0: the capacity of that one.
  // LFM_SESSION_FILE: the file is missing, damaged, or of another bundle. LFM_INVALID_REQUEST:
  // `context` is out of range. LFM_CONTEXT_FULL: it does not hold the saved tokens.
  static OpenedSession open(std::shared_ptr<const Runtime> runtime, const std::string& path,
                            int64_t context = 0);

 private:
  float* append(TokenIds ids);

  std::shared_ptr<const Runtime> runtime_;
  int64_t capacity_;
  Contents contents_;
  Reader reader_ = 0;
};

struct OpenedSession {
  std::unique_ptr<Session> session;
  std::string attached;  // the text that was saved with it
};

}  // namespace lfm::core
