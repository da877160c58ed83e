// The arithmetic of the ops that carry state, attention over a cache and the short convolution, and
// of the residual stream between ops.
//
// As in kernels.h: no tensors, no threads, no allocation. On one instruction set a token's result
// is the same to the bit however many tokens are computed at once: keys are taken in blocks and
// spans at absolute positions, each in ascending order, whatever the query.
#pragma once

#include <cstdint>

#include "isa.h"

namespace lfm {

constexpr int64_t kKeyBlock = 64;   // keys of one step of the online softmax
constexpr int64_t kKeySpan = 1024;  // keys of one softmax; the spans' results are merged in order
constexpr int64_t kHeadMultiple = 16;  // head_dim is a multiple of it
constexpr int64_t kMaxConvTaps = 16;

enum class CacheType { kFloat, kFloat16, kInt8 };

// The keys (or values) of one head, [slots][head_dim]; int8 has a scale for each slot. Position p
// lies in slot p modulo slots: where a run goes further than that they are whole blocks, so that
// the keys of a block are neighbours.
struct CacheHead {
  void* data;
  float* scales;
};

// What turns one head of one token into a query or a key: RMS norm, then rotate-half RoPE of the
// first `2 * half` values.
struct NormRope {
  const float* weight;  // [head_dim]
  float epsilon;
  const float* cos;  // [half], of the token's position
  const float* sin;
  int64_t half;
  int64_t head_dim;
  float scale;  // of the result
};

// Some tokens' queries that share a head of keys and values: row = token * group + query head.
struct AttentionTile {
  const float* query;  // [rows][head_dim], scaled
  int64_t rows;
  int64_t group;
  int64_t position;  // of the first token
  int64_t window;    // how many keys a token sees, itself included; 0: all
  int64_t head_dim;
  int64_t slots;  // of key and value
  CacheType type;
  CacheHead key;
  CacheHead value;

  int64_t last_position() const { return position + rows / group - 1; }
  int64_t first_key(int64_t at) const { return window > 0 && at >= window ? at - window + 1 : 0; }
  int64_t first_span() const { return first_key(position) / kKeySpan; }
  int64_t end_span() const { return last_position() / kKeySpan + 1; }
};

// A softmax-weighted sum on its way: for each row the largest score, the sum of the weights
// relative to it, and the values so weighted.
struct SoftmaxSum {
  float* max;     // [rows]
  float* sum;     // [rows]
  float* values;  // [rows][head_dim]

  static constexpr int64_t floats(int64_t rows, int64_t head_dim) { return rows * (head_dim + 2); }
  static SoftmaxSum at(float* memory, int64_t rows) {
    return {memory, memory + rows, memory + 2 * rows};
  }
};

// `out = after * conv(before * values)`, with projected = [before, after, values] of each token.
struct ShortConv {
  const float* projected;  // [tokens][3 * hidden]
  const float* taps;       // [hidden][kernel], the last tap meets the current token
  const float* bias;       // [hidden], or null
  const float* past;       // [hidden][kernel - 1], oldest first
  float* present;          // as past, and may be the same memory
  float* columns;          // [hidden][kept], the last inputs of all, those of past included
  float* out;              // [tokens][hidden]
  int64_t tokens;
  int64_t hidden;
  int64_t kernel;  // 1 to kMaxConvTaps
  int64_t kept;    // 0 to kernel - 1 + tokens
};

// RMS norm over `size` values.
struct AddNorm {
  const float* weight;  // [size]
  float epsilon;
  int64_t size;
};

struct StatefulKernels {
  void (*norm_rope)(const NormRope& how, const float* in, float* out);

  // Writes a key or a value to a slot.
  void (*append)(const float* in, int64_t head_dim, CacheType type, const CacheHead& head,
                 int64_t slot);

  // The tile's sum over the keys of one span; scratch: attend_scratch floats, aligned to 64 bytes.
  void (*attend)(const AttentionTile& tile, int64_t span, float* scratch, const SoftmaxSum& out);

  void (*clear)(const SoftmaxSum& sum, int64_t rows, int64_t head_dim);
  void (*merge)(const SoftmaxSum& part, int64_t rows, int64_t head_dim, const SoftmaxSum& into);

  // The weighted mean: `out[row * head_dim ...]` for rows of one token.
  void (*finish)(const SoftmaxSum& sum, int64_t first_row, int64_t rows, int64_t head_dim,
                 float* out);

  // The channels `begin .. end` of all tokens.
  void (*short_conv)(const ShortConv& conv, int64_t begin, int64_t end);

  // One token: `sum = x + branch`, `out = norm(sum)`; without a branch `out = norm(x)`.
  void (*add_norm)(const AddNorm& how, const float* x, const float* branch, float* sum, float* out);
};

constexpr int64_t attend_scratch(int64_t rows, int64_t head_dim) {
  return kKeyBlock * (2 * head_dim + rows);
}

const StatefulKernels& stateful_kernels_for(Isa isa);

}  // namespace lfm
