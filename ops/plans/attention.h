// Attention over a cache as a whole, cut into tasks: QK-norm, RoPE, append, attend.
#pragma once

#include "stateful.h"
#include "work.h"

namespace lfm {

struct AttentionShape {
  int64_t heads;
  int64_t kv_heads;  // divides heads
  int64_t head_dim;  // a multiple of kHeadMultiple
  int64_t rotary_dim;
  int64_t window;  // 0: all
  float scale;
  float epsilon;

  int64_t group() const { return heads / kv_heads; }  // query heads that share a key
};

struct AttentionInputs {
  const float* qkv;     // [tokens][heads + 2 * kv_heads][head_dim]
  const float* q_norm;  // [head_dim]
  const float* k_norm;
  const float* cos;  // [positions][rotary_dim / 2]
  const float* sin;
  int64_t tokens;  // 1 or more
  int64_t past;    // position of the first
  // So many of the first stand in the cache already: they attend, nothing is appended for them.
  int64_t replayed;
};

// The cache of all heads: [kv_heads][slots][head_dim], scales [kv_heads][slots] with int8.
struct Cache {
  CacheType type;
  CacheHead key;
  CacheHead value;
  int64_t slots;
};

// Whether a run can be computed in so many slots: all positions have their own, or else those that
// the run sees and appends have, and are neighbours where a kernel takes them together.
bool fits(const AttentionShape& shape, const AttentionInputs& inputs, int64_t slots);

/// `out[tokens][heads][head_dim]`; appends keys and values to the cache, but for replayed tokens.
class AttentionWork final : public Work {
 public:
  AttentionWork(const StatefulKernels& kernels, const AttentionShape& shape,
                const AttentionInputs& inputs, const Cache& cache, float* out);

  void lay_out(Workspace& space) override;
  int phases() const override { return kPhases; }
  int64_t tasks(int phase) const override;
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override;

 private:
  // Few tokens: a task of kAttend is a span of keys of one head, so that a long context is shared
  // out, and kMerge puts a head's spans together. Many: it is a tile of queries of one head.
  enum Phase { kPrepare, kAttend, kMerge, kPhases };

  bool by_span() const;
  int64_t tile_tokens() const;
  int64_t tiles() const;
  int64_t spans() const;
  int64_t partial_floats() const;
  CacheHead head(const CacheHead& first, int64_t index) const;
  AttentionTile tile(int64_t kv, int64_t first_token, int64_t tokens) const;
  SoftmaxSum span_sum(int64_t kv, int64_t span) const;

  void prepare(int64_t token, int64_t kv) const;
  void attend_span(int64_t kv, int64_t span, float* scratch) const;
  void attend_tile(int64_t kv, int64_t first_token, float* scratch) const;
  void merge(int64_t kv, float* scratch) const;
  void finish(const SoftmaxSum& sum, int64_t kv, int64_t first_token, int64_t tokens) const;

  const StatefulKernels& kernels_;
  AttentionShape shape_;
  AttentionInputs inputs_;
  Cache cache_;
  float* out_;
  float* queries_ = nullptr;    // [kv_heads][tokens][group][head_dim]
  float* span_sums_ = nullptr;  // [kv_heads][spans][partial_floats]
};

}  // namespace lfm
