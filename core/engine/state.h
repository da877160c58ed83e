// What the model has read in one conversation: its state tensors, bound to the graph in place.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/runtime.h"
#include "engine/zero_pages.h"

namespace lfm::core {

constexpr int64_t kPrefillChunk = 512;  // most tokens of one run

// The conv state at some position: the bytes of its tensors in the manifest's order, which nobody
// changes; null: empty.
using Conv = std::shared_ptr<const std::vector<char>>;

// Belongs to one thread at a time. Keeps its runtime alive.
class State {
 public:
  // LFM_BUNDLE: there is no memory for it.
  State(std::shared_ptr<const Runtime> runtime, int64_t capacity);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Appends tokens, at most kPrefillChunk, at `position` and returns the last one's logits [vocab],
  // which hold until the next run. The first `replayed` of them stand in the cache already and are
  // not appended, but with `anew` to the caches that keep their last positions alone. LFM_BUNDLE:
  // the graph failed to run; the state is then undefined.
  float* run(const int32_t* ids, int64_t count, int64_t position, int64_t replayed,
             bool anew = false);

  // Forgets everything. Only the conv state is zeroed: attention never reads beyond the position.
  void clear() { set_conv(nullptr); }
  Conv conv() const;
  void set_conv(const Conv& conv);

  // The memory of each of the manifest's tensors, in their order.
  char* tensor(size_t index) const { return tensors_[index].data(); }
  const Runtime& runtime() const { return *runtime_; }
  int64_t capacity() const { return capacity_; }

 private:
  struct Binding;

  std::shared_ptr<const Runtime> runtime_;
  int64_t capacity_;
  std::vector<ZeroPages> tensors_;
  std::unique_ptr<Binding> binding_;
};

// Sizes of one state tensor in a session of that capacity, and its bytes (the largest int64 where
// they are more).
std::vector<int64_t> state_shape(const StateTensor& tensor, int64_t capacity);
int64_t state_bytes(const StateTensor& tensor, int64_t capacity);

// Sizes of what a session that holds `held` positions has of a cache.
std::vector<int64_t> held_shape(const StateTensor& tensor, int64_t held);

// Where the first `held` positions of a cache lie in its memory, or all that it keeps: `count`
// parts of `size` bytes, one at every `stride`.
struct HeldParts {
  HeldParts(const StateTensor& tensor, int64_t capacity, int64_t held);

  size_t count = 1, size, stride;
};

}  // namespace lfm::core
