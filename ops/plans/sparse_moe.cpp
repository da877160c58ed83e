#include "sparse_moe.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace lfm {
namespace {

constexpr int64_t kExpertsPerTask = 8;  // where one token is scored by several threads
constexpr float kWeightEpsilon = 1e-6f;

float sigmoid(float x) { return static_cast<float>(1.0 / (1.0 + std::exp(-double{x}))); }

/// Copies a token's activations from one place to another.
void copy_token(const Rows& from, int64_t token, const Rows& to, int64_t to_token, int64_t groups) {
  const int64_t value_bytes = from.scales == nullptr ? sizeof(float) : sizeof(int8_t);
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t source = from.index(g, token);
    const int64_t target = to.index(g, to_token);
    std::memcpy(static_cast<char*>(to.values) + target * kGroup * value_bytes,
                static_cast<const char*>(from.values) + source * kGroup * value_bytes,
                static_cast<size_t>(kGroup * value_bytes));
    if (from.scales != nullptr) {
      to.scales[target] = from.scales[source];
      to.offsets[target] = from.offsets[source];
    }
  }
}

}  // namespace

PackedMatrix MoeShape::gate_up(const uint8_t* data, int64_t expert) const {
  const int64_t rows = lfm_ops_gate_up_rows(inner);
  return {data + expert * lfm_ops_packed_bytes(gate_up_format, rows, hidden), gate_up_format, rows,
          hidden};
}

PackedMatrix MoeShape::down(const uint8_t* data, int64_t expert) const {
  return {data + expert * lfm_ops_packed_bytes(down_format, hidden, inner), down_format, hidden,
          inner};
}

SparseMoeWork::SparseMoeWork(const Kernels& kernels, const MoeShape& shape,
                             const MoeWeights& weights, const float* x, int64_t tokens, float* out)
    : kernels_(kernels), shape_(shape), weights_(weights), x_(x), tokens_(tokens), out_(out) {}

void SparseMoeWork::lay_out(Workspace& space) {
  const int64_t choices = tokens_ * shape_.top_k;
  scores_ = space.take<float>(tokens_ * shape_.experts);
  choices_ = space.take<int32_t>(choices);
  choice_weights_ = space.take<float>(choices);
  slots_ = space.take<int32_t>(choices);
  slot_tokens_ = space.take<int32_t>(choices);
  slot_weights_ = space.take<float>(choices);
  experts_ = space.take<Expert>(shape_.experts);
  active_ = space.take<int32_t>(shape_.experts);
  rows_ = space.take_rows(*shape_.gate_up_format, choices, shape_.hidden);
  inner_ = space.take_rows(*shape_.down_format, choices, shape_.inner);
}

int64_t SparseMoeWork::score_parts() const {
  return tokens_ == 1 ? (shape_.experts + kExpertsPerTask - 1) / kExpertsPerTask : 1;
}

int64_t SparseMoeWork::tasks(int phase) const {
  switch (phase) {
    case kScore:
      return tokens_ * score_parts();
    case kSelect:
      return 1;
    case kGather:
      return tokens_;
    case kGateUp:
      return active_count_ * lfm_ops_column_groups(shape_.inner);
    default:
      return lfm_ops_row_blocks(shape_.hidden);
  }
}

void SparseMoeWork::run(int phase, int64_t begin, int64_t end, void* scratch) {
  switch (phase) {
    case kScore:
      return score(begin, end);
    case kSelect:
      return select();
    case kGather:
      return gather(begin, end);
    case kGateUp:
      return gate_up(begin, end, scratch);
    default:
      return down(begin, end, scratch);
  }
}

void SparseMoeWork::score(int64_t begin, int64_t end) {
  const int64_t parts = score_parts();
  const int64_t each = parts == 1 ? shape_.experts : kExpertsPerTask;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t token = i / parts;
    const int64_t first = i % parts * each;
    const int64_t count = std::min(each, shape_.experts - first);
    float* scores = scores_ + token * shape_.experts + first;
    kernels_.vectors.dots(x_ + token * shape_.hidden, weights_.router + first * shape_.hidden,
                          count, shape_.hidden, scores);
    for (int64_t e = 0; e < count; ++e) scores[e] = sigmoid(scores[e]);
  }
}

/// Chooses the experts of one token, best first.
void SparseMoeWork::choose(int64_t token) {
  const float* scores = scores_ + token * shape_.experts;
  const float* bias = weights_.expert_bias;
  int32_t* choices = choices_ + token * shape_.top_k;
  float* weights = choice_weights_ + token * shape_.top_k;
  float last = std::numeric_limits<float>::infinity();
  int64_t last_expert = -1;
  float sum = 0;
  for (int64_t k = 0; k < shape_.top_k; ++k) {
    int64_t best = -1;
    float most = 0;
    for (int64_t e = 0; e < shape_.experts; ++e) {
      const float ranked = bias == nullptr ? scores[e] : scores[e] + bias[e];
      const bool left = ranked < last || (ranked == last && e > last_expert);
      if (left && (best < 0 || ranked > most)) {
        best = e;
        most = ranked;
      }
    }
    if (best < 0) best = k;  // only where scores are NaN, as the weight then is
    last = most;
    last_expert = best;
    choices[k] = static_cast<int32_t>(best);
    weights[k] = scores[best];
    sum += scores[best];
  }
  for (int64_t k = 0; k < shape_.top_k; ++k) {
    if (shape_.norm_topk_prob) weights[k] /= sum + kWeightEpsilon;
    weights[k] *= shape_.routed_scaling_factor;
  }
}

/// Chooses for all tokens and gives every choice a slot: by expert, then by token.
void SparseMoeWork::select() {
  const int64_t choices = tokens_ * shape_.top_k;
  for (int64_t e = 0; e < shape_.experts; ++e) experts_[e] = {0, 0};
  for (int64_t t = 0; t < tokens_; ++t) choose(t);
  for (int64_t i = 0; i < choices; ++i) ++experts_[choices_[i]].tokens;
  int64_t first = 0;
  active_count_ = 0;
  for (int64_t e = 0; e < shape_.experts; ++e) {
    experts_[e].first = first;
    first += experts_[e].tokens;
    if (experts_[e].tokens > 0) active_[active_count_++] = static_cast<int32_t>(e);
    experts_[e].tokens = 0;
  }
  for (int64_t i = 0; i < choices; ++i) {
    Expert& expert = experts_[choices_[i]];
    const int64_t slot = expert.first + expert.tokens++;
    slots_[i] = static_cast<int32_t>(slot);
    slot_tokens_[slot] = static_cast<int32_t>(i / shape_.top_k);
    slot_weights_[slot] = choice_weights_[i];
  }
}

/// The part of `all` that belongs to one expert: its tokens lie group by group, like any Rows.
Rows SparseMoeWork::rows_of(int64_t expert, const Rows& all, int64_t columns) const {
  const Expert& e = experts_[expert];
  const int64_t group = e.first * lfm_ops_column_groups(columns);
  if (all.scales == nullptr)
    return {all.float_at(0, 0) + group * kGroup, nullptr, nullptr, e.tokens};
  return {all.int8_at(0, 0) + group * kGroup, all.scales + group, all.offsets + group, e.tokens};
}

void SparseMoeWork::gather(int64_t begin, int64_t end) {
  for (int64_t token = begin; token < end; ++token) {
    const int32_t* choices = choices_ + token * shape_.top_k;
    const int32_t* slots = slots_ + token * shape_.top_k;
    const Rows first = rows_of(choices[0], rows_, shape_.hidden);
    const int64_t at = slots[0] - experts_[choices[0]].first;
    kernels_.activations(*shape_.gate_up_format)
        .prepare(x_ + token * shape_.hidden, shape_.hidden, shape_.hidden, at, 1, first);
    for (int64_t k = 1; k < shape_.top_k; ++k) {
      copy_token(first, at, rows_of(choices[k], rows_, shape_.hidden),
                 slots[k] - experts_[choices[k]].first, lfm_ops_column_groups(shape_.hidden));
    }
  }
}

void SparseMoeWork::gate_up(int64_t begin, int64_t end, void* scratch) {
  const int64_t pairs = lfm_ops_column_groups(shape_.inner);
  while (begin < end) {
    const int64_t expert = active_[begin / pairs];
    const int64_t pair = begin % pairs;
    const int64_t pair_end = std::min(pairs, pair + end - begin);
    multiply_gated(kernels_, shape_.gate_up(weights_.gate_up, expert), *shape_.down_format,
                   rows_of(expert, rows_, shape_.hidden), pair, pair_end,
                   rows_of(expert, inner_, shape_.inner), scratch);
    begin += pair_end - pair;
  }
}

/// Adds an expert's outputs of one block to a token's; of the last block only those that there are.
void SparseMoeWork::add(const float* in, float weight, int64_t block, float* out) const {
  const int64_t rows = shape_.hidden - block * kBlockRows;
  if (rows >= kBlockRows) return kernels_.vectors.add_scaled(in, weight, out);
  for (int64_t r = 0; r < rows; ++r) out[r] = std::fma(weight, in[r], out[r]);
}

void SparseMoeWork::down(int64_t begin, int64_t end, void* scratch) {
  float* sums = static_cast<float*>(scratch);
  const int64_t first_row = begin * kBlockRows;
  const int64_t rows = std::min(end * kBlockRows, shape_.hidden) - first_row;
  for (int64_t t = 0; t < tokens_; ++t) {
    std::memset(out_ + t * shape_.hidden + first_row, 0, static_cast<size_t>(rows) * sizeof *out_);
  }
  for (int64_t i = 0; i < active_count_; ++i) {
    const int64_t expert = active_[i];
    const int64_t slot = experts_[expert].first;
    const Rows inner = rows_of(expert, inner_, shape_.inner);
    const PackedMatrix weight = shape_.down(weights_.down, expert);
    for_each_block(begin, end, inner.tokens, [&](int64_t block, int64_t first, int64_t tokens) {
      multiply_block(kernels_, weight, block, inner, first, tokens, sums);
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t at = slot + first + t;
        float* out = out_ + slot_tokens_[at] * shape_.hidden + block * kBlockRows;
        add(sums + t * kBlockRows, slot_weights_[at], block, out);
      }
    });
  }
}

}  // namespace lfm
