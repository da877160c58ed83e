#include "attention.h"

#include <algorithm>
#include <cstddef>

namespace lfm {
namespace {

constexpr int64_t kTileRows = 64;  // queries that share a block of keys, at least one token's
constexpr int64_t kMostHeadDim = 1 << 12;

int64_t element_size(CacheType type) {
  return type == CacheType::kFloat ? 4 : type == CacheType::kFloat16 ? 2 : 1;
}

}  // namespace

bool fits(const AttentionShape& shape, const AttentionInputs& inputs, int64_t slots) {
  const int64_t total = inputs.past + inputs.tokens;
  if (total <= slots) return true;
  AttentionTile t{};
  t.window = shape.window;
  return slots % kKeyBlock == 0 && total - t.first_key(inputs.past) <= slots;
}

AttentionWork::AttentionWork(const StatefulKernels& kernels, const AttentionShape& shape,
                             const AttentionInputs& inputs, const Cache& cache, float* out)
    : kernels_(kernels), shape_(shape), inputs_(inputs), cache_(cache), out_(out) {}

void AttentionWork::lay_out(Workspace& space) {
  queries_ = space.take<float>(inputs_.tokens * shape_.heads * shape_.head_dim);
  if (by_span()) span_sums_ = space.take<float>(shape_.kv_heads * spans() * partial_floats());
}

int64_t AttentionWork::tile_tokens() const {
  return std::max<int64_t>(1, kTileRows / shape_.group());
}

bool AttentionWork::by_span() const { return inputs_.tokens <= tile_tokens(); }

int64_t AttentionWork::tiles() const {
  return (inputs_.tokens + tile_tokens() - 1) / tile_tokens();
}

int64_t AttentionWork::spans() const {
  const AttentionTile t = tile(0, 0, inputs_.tokens);
  return t.end_span() - t.first_span();
}

int64_t AttentionWork::partial_floats() const {
  const int64_t rows = std::min(inputs_.tokens, tile_tokens()) * shape_.group();
  return SoftmaxSum::floats(rows, shape_.head_dim);
}

// The kernel's own, the sum of a span and the sum of all.
int64_t AttentionWork::scratch_bytes() const {
  const int64_t rows = std::min(inputs_.tokens, tile_tokens()) * shape_.group();
  const int64_t floats = attend_scratch(rows, shape_.head_dim) + 2 * partial_floats();
  return floats * static_cast<int64_t>(sizeof(float));
}

int64_t AttentionWork::tasks(int phase) const {
  switch (phase) {
    case kPrepare:
      return inputs_.tokens * shape_.kv_heads;
    case kAttend:
      return shape_.kv_heads * (by_span() ? spans() : tiles());
    default:
      return by_span() ? shape_.kv_heads : 0;
  }
}

void AttentionWork::run(int phase, int64_t begin, int64_t end, void* scratch) {
  auto* memory = static_cast<float*>(scratch);
  for (int64_t task = begin; task < end; ++task) {
    if (phase == kPrepare) {
      prepare(task / shape_.kv_heads, task % shape_.kv_heads);
    } else if (phase == kMerge) {
      merge(task, memory);
    } else if (by_span()) {
      attend_span(task / spans(), task % spans(), memory);
    } else {
      attend_tile(task / tiles(), task % tiles() * tile_tokens(), memory);
    }
  }
}

CacheHead AttentionWork::head(const CacheHead& first, int64_t index) const {
  const int64_t bytes = cache_.slots * shape_.head_dim * element_size(cache_.type);
  float* scales = first.scales == nullptr ? nullptr : first.scales + index * cache_.slots;
  return {static_cast<std::byte*>(first.data) + index * bytes, scales};
}

AttentionTile AttentionWork::tile(int64_t kv, int64_t first_token, int64_t tokens) const {
  AttentionTile t;
  const int64_t row = (kv * inputs_.tokens + first_token) * shape_.group();
  t.query = queries_ + row * shape_.head_dim;
  t.rows = tokens * shape_.group();
  t.group = shape_.group();
  t.position = inputs_.past + first_token;
  t.window = shape_.window;
  t.head_dim = shape_.head_dim;
  t.slots = cache_.slots;
  t.type = cache_.type;
  t.key = head(cache_.key, kv);
  t.value = head(cache_.value, kv);
  return t;
}

/// The queries of one token that share a key and, unless they stand there, the key and the value.
void AttentionWork::prepare(int64_t token, int64_t kv) const {
  const int64_t position = inputs_.past + token, half = shape_.rotary_dim / 2;
  const int64_t dim = shape_.head_dim, group = shape_.group();
  const float* heads = inputs_.qkv + token * (shape_.heads + 2 * shape_.kv_heads) * dim;
  const float* key_in = heads + (shape_.heads + kv) * dim;
  const float* value_in = key_in + shape_.kv_heads * dim;
  float* query = queries_ + (kv * inputs_.tokens + token) * group * dim;
  NormRope how{inputs_.q_norm,
               shape_.epsilon,
               inputs_.cos + position * half,
               inputs_.sin + position * half,
               half,
               dim,
               shape_.scale};
  for (int64_t i = 0; i < group; ++i) {
    kernels_.norm_rope(how, heads + (kv * group + i) * dim, query + i * dim);
  }
  if (token < inputs_.replayed) return;
  how.weight = inputs_.k_norm;
  how.scale = 1.0f;
  const int64_t slot = position % cache_.slots;
  float key[kMostHeadDim];
  kernels_.norm_rope(how, key_in, key);
  kernels_.append(key, dim, cache_.type, head(cache_.key, kv), slot);
  kernels_.append(value_in, dim, cache_.type, head(cache_.value, kv), slot);
}

SoftmaxSum AttentionWork::span_sum(int64_t kv, int64_t span) const {
  return SoftmaxSum::at(span_sums_ + (kv * spans() + span) * partial_floats(),
                        inputs_.tokens * shape_.group());
}

void AttentionWork::attend_span(int64_t kv, int64_t span, float* scratch) const {
  const AttentionTile t = tile(kv, 0, inputs_.tokens);
  kernels_.attend(t, t.first_span() + span, scratch, span_sum(kv, span));
}

void AttentionWork::merge(int64_t kv, float* scratch) const {
  const int64_t rows = inputs_.tokens * shape_.group();
  const SoftmaxSum total = SoftmaxSum::at(scratch, rows);
  kernels_.clear(total, rows, shape_.head_dim);
  for (int64_t span = 0; span < spans(); ++span) {
    kernels_.merge(span_sum(kv, span), rows, shape_.head_dim, total);
  }
  finish(total, kv, 0, inputs_.tokens);
}

void AttentionWork::attend_tile(int64_t kv, int64_t first_token, float* scratch) const {
  const int64_t tokens = std::min(tile_tokens(), inputs_.tokens - first_token);
  const AttentionTile t = tile(kv, first_token, tokens);
  const SoftmaxSum total = SoftmaxSum::at(scratch, t.rows);
  const SoftmaxSum part = SoftmaxSum::at(scratch + partial_floats(), t.rows);
  kernels_.clear(total, t.rows, shape_.head_dim);
  for (int64_t span = t.first_span(); span < t.end_span(); ++span) {
    kernels_.attend(t, span, scratch + 2 * partial_floats(), part);
    kernels_.merge(part, t.rows, shape_.head_dim, total);
  }
  finish(total, kv, first_token, tokens);
}

void AttentionWork::finish(const SoftmaxSum& sum, int64_t kv, int64_t first_token,
                           int64_t tokens) const {
  const int64_t group = shape_.group();
  for (int64_t token = 0; token < tokens; ++token) {
    const int64_t row = (first_token + token) * shape_.heads + kv * group;
    kernels_.finish(sum, token * group, group, shape_.head_dim, out_ + row * shape_.head_dim);
  }
}

}  // namespace lfm
