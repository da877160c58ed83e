// The arithmetic of packed weights: one table of functions for each instruction set.
//
// Kernels know no tensors and no threads and allocate nothing. They work on one block of 32 rows
// of packed weights (`lfm_ops/layout.h`) at a time. Every table gives the same bits: a product of
// a row is `acc = fma(float(integer dot) * weight scale, activation scale, acc)` over the groups
// in ascending order, with float weights `acc += (fma chain of the group's 32 inputs)`, whatever
// the instruction set and however many tokens are computed at once. Weight scales are finite.
#pragma once

#include <cstddef>
#include <cstdint>

#include "compiler.h"
#include "isa.h"
#include "lfm_ops/layout.h"

namespace lfm {

constexpr int64_t kBlockRows = LFM_OPS_BLOCK_ROWS;
constexpr int64_t kGroup = LFM_OPS_BLOCK_COLUMNS;

using Format = LfmOpsFormat;

/// The activations of a matrix product, group by group, as `ActivationKernels::prepare` makes them.
/// int8: integers, rounded per group of 32; float32: floats, and no more.
struct Rows {
  void* values;      ///< [group][token][32]
  float* scales;     ///< [group][token]: largest magnitude / 127
  int32_t* offsets;  ///< [group][token]: -8 * sum of the 32 integers
  int64_t tokens;

  LFM_INLINE int64_t index(int64_t group, int64_t token) const { return group * tokens + token; }
  LFM_INLINE int8_t* int8_at(int64_t group, int64_t token) const {
    return static_cast<int8_t*>(values) + index(group, token) * kGroup;
  }
  LFM_INLINE float* float_at(int64_t group, int64_t token) const {
    return static_cast<float*>(values) + index(group, token) * kGroup;
  }
};

/// Products of one block with tokens `first .. first + tokens`: `out[t * out_stride + row]`, t from
/// 0. For more than a few tokens `out` is read and written once per group, so it should lie in the
/// L1 cache (128 tokens with stride 32). `prefetch` is how many bytes ahead of the weights to
/// fetch, 0 for none; what lies there need not exist.
using Matmul = void(const uint8_t* block, const Rows& x, int64_t groups, int64_t first,
                    int64_t tokens, float* out, ptrdiff_t out_stride, ptrdiff_t prefetch);

/// Makes tokens `first .. first + tokens` of `rows` from `x[t * stride + column]`, t from 0.
/// Columns that are missing to whole groups become zeros; int8 has only whole groups.
using Prepare = void(const float* x, ptrdiff_t stride, int64_t columns, int64_t first,
                     int64_t tokens, const Rows& rows);

/// Makes group `group` of tokens `first .. first + tokens` of `rows`: silu(gate) * up, both
/// [token][32] from token 0 on.
using Swiglu = void(const float* gate, const float* up, int64_t group, int64_t first,
                    int64_t tokens, const Rows& rows);

/// `out[r] = x . w[r * columns ...]`: lanes j, j + 32, ... are summed in order, then the 32 sums in
/// halves.
using Dots = void(const float* x, const float* w, int64_t rows, int64_t columns, float* out);

/// `out[r] = fma(weight, in[r], out[r])` for the 32 rows of a block.
using AddScaled = void(const float* in, float weight, float* out);

/// What is done to activations between matrix products.
struct VectorKernels {
  struct Activations {
    Prepare* prepare;
    Swiglu* swiglu;
  };
  Activations activations[LFM_OPS_ACTIVATIONS];  ///< by their kind
  Dots* dots;
  AddScaled* add_scaled;
};

struct Kernels {
  Isa isa;
  Matmul* matmuls[LFM_OPS_FORMATS];  ///< by id of the weights' format
  const VectorKernels& vectors;
  ptrdiff_t
      prefetch_one;  ///< how far ahead `matmul` may first fetch for one token; 0 if it never does
  ptrdiff_t prefetch_many;  ///< how far it should for more

  Matmul* matmul(const Format& weights) const { return matmuls[weights.id]; }
  const VectorKernels::Activations& activations(const Format& weights) const {
    return vectors.activations[weights.activations];
  }
};

/// The table of an available instruction set.
const Kernels& kernels_for(Isa isa);

}  // namespace lfm
