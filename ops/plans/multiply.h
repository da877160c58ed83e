// How the ops walk over blocks of weights and of tokens.
#pragma once

#include <algorithm>

#include "packed_matrix.h"
#include "prefetch.h"

namespace lfm {

constexpr int64_t kTokenBlock = 128;  // tokens whose sums for one block of rows stay in L1
constexpr int64_t kScratchBytes = 2 * kTokenBlock * kBlockRows * sizeof(float);

// Blocks of rows that meet one block of tokens before the next: both then stay in the L2 cache.
constexpr int64_t kPanelBlocks = 4;

/// Calls `visit(block, first token, tokens)` for every pair of a block `begin .. end` and a block
/// of tokens.
template <class Visit>
void for_each_block(int64_t begin, int64_t end, int64_t tokens, const Visit& visit) {
  for (int64_t panel = begin; panel < end; panel += kPanelBlocks) {
    const int64_t panel_end = std::min(panel + kPanelBlocks, end);
    for (int64_t first = 0; first < tokens; first += kTokenBlock) {
      const int64_t count = std::min(kTokenBlock, tokens - first);
      for (int64_t block = panel; block < panel_end; ++block) visit(block, first, count);
    }
  }
}

/// Products of one block with some tokens, [token][32], to `out`.
inline void multiply_block(const Kernels& kernels, const PackedMatrix& weight, int64_t block,
                           const Rows& x, int64_t first, int64_t tokens, float* out) {
  const ptrdiff_t prefetch =
      tokens == 1 ? prefetch_bytes.load(std::memory_order_relaxed) : kernels.prefetch_many;
  kernels.matmul (*weight.format)(weight.block(block), x, weight.groups(), first, tokens, out,
                                  kBlockRows, prefetch);
}

/// Blocks `begin .. end` of `out[tokens][weight.rows] = x * weight^T (+ bias)`.
void multiply_blocks(const Kernels& kernels, const PackedMatrix& weight, const float* bias,
                     const Rows& x, int64_t begin, int64_t end, float* out, void* scratch);

/// Pairs `begin .. end` of blocks of `gate_up`: groups `begin .. end` of `inner`, as weights of
/// format `down` want them.
void multiply_gated(const Kernels& kernels, const PackedMatrix& gate_up, const Format& down,
                    const Rows& x, int64_t begin, int64_t end, const Rows& inner, void* scratch);

}  // namespace lfm
