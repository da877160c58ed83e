// The ops of packed weights, cut into tasks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"
#include "work.h"

namespace lfm {

constexpr int64_t kTokenBlock = 128;  // tokens whose sums for one block of rows stay in L1
constexpr int64_t kScratchBytes = 2 * kTokenBlock * kBlockRows * sizeof(float);

/// Packed weights; the format takes so many columns.
struct PackedMatrix {
  const uint8_t* data;
  const Format* format;
  int64_t rows;
  int64_t columns;

  int64_t groups() const { return lfm_ops_column_groups(columns); }
  int64_t row_blocks() const { return lfm_ops_row_blocks(rows); }
  int64_t bytes() const { return lfm_ops_packed_bytes(format, rows, columns); }
  const uint8_t* block(int64_t index) const {
    return data + index * lfm_ops_block_bytes(format, columns);
  }
};

/// `out[tokens][weight.rows] = x[tokens][weight.columns] * weight^T (+ bias[weight.rows])`.
class LinearWork final : public Work {
 public:
  LinearWork(const Kernels& kernels, const PackedMatrix& weight, const float* bias, const float* x,
             int64_t tokens, float* out, void* workspace);
  static int64_t workspace_bytes(const Format& weight, int64_t tokens, int64_t columns);

  int phases() const override { return 2; }  // prepare, multiply
  int64_t tasks(int phase) const override;
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return kScratchBytes; }

 private:
  const Kernels& kernels_;
  PackedMatrix weight_;
  const float* bias_;
  const float* x_;
  int64_t tokens_;
  float* out_;
  Rows rows_;
};

/// `out = down(silu(gate(x)) * up(x))`; blocks of `gate_up` [2 * inner in whole blocks, hidden]
/// alternate.
class GatedMlpWork final : public Work {
 public:
  GatedMlpWork(const Kernels& kernels, const PackedMatrix& gate_up, const PackedMatrix& down,
               const float* x, int64_t tokens, float* out, void* workspace);
  static int64_t workspace_bytes(const PackedMatrix& gate_up, const PackedMatrix& down,
                                 int64_t tokens);

  int phases() const override { return 3; }  // prepare, gate and up, down
  int64_t tasks(int phase) const override;
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return kScratchBytes; }

 private:
  const Kernels& kernels_;
  PackedMatrix gate_up_;
  PackedMatrix down_;
  const float* x_;
  int64_t tokens_;
  float* out_;
  Rows rows_;
  Rows inner_;
};

struct MoeShape {
  const Format* gate_up_format;
  const Format* down_format;
  int64_t hidden;
  int64_t inner;
  int64_t experts;
  int64_t top_k;  // 1 .. experts
  bool norm_topk_prob;
  float routed_scaling_factor;

  PackedMatrix gate_up(const uint8_t* data, int64_t expert) const;
  PackedMatrix down(const uint8_t* data, int64_t expert) const;
};

struct MoeWeights {
  const float* router;       // [experts, hidden]
  const float* expert_bias;  // [experts], selects only; or null
  const uint8_t* gate_up;    // expert after expert
  const uint8_t* down;
};

/// The feed-forward of a mixture of experts, router included: score, select, gather, gate and up,
/// down. Each output adds its experts in ascending order. Of equal scores the lower expert is
/// chosen.
class SparseMoeWork final : public Work {
 public:
  SparseMoeWork(const Kernels& kernels, const MoeShape& shape, const MoeWeights& weights,
                const float* x, int64_t tokens, float* out, void* workspace);
  static int64_t workspace_bytes(const MoeShape& shape, int64_t tokens);

  int phases() const override { return kPhases; }
  int64_t tasks(int phase) const override;
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return kScratchBytes; }

 private:
  enum Phase { kScore, kSelect, kGather, kGateUp, kDown, kPhases };

  struct Expert {
    int64_t first;   // slot of its first token
    int64_t tokens;  // that chose it
  };

  int64_t plan(void* workspace);
  int64_t score_parts() const;
  Rows rows_of(int64_t expert, const Rows& all, int64_t columns) const;
  void score(int64_t begin, int64_t end);
  void choose(int64_t token);
  void select();
  void gather(int64_t begin, int64_t end);
  void gate_up(int64_t begin, int64_t end, void* scratch);
  void add(const float* in, float weight, int64_t block, float* out) const;
  void down(int64_t begin, int64_t end, void* scratch);

  const Kernels& kernels_;
  MoeShape shape_;
  MoeWeights weights_;
  const float* x_;
  int64_t tokens_;
  float* out_;
  int64_t bytes_ = 0;

  // A choice is a token's k-th expert; a slot is its place when choices are sorted by expert.
  float* scores_;          // [token][expert]: sigmoid
  int32_t* choices_;       // [token][k]: experts
  float* choice_weights_;  // [token][k]
  int32_t* slots_;         // [token][k]
  int32_t* slot_tokens_;   // [slot]
  float* slot_weights_;    // [slot]
  Expert* experts_;        // [expert]
  int32_t* active_;        // experts that have tokens, ascending
  int64_t active_count_ = 0;
  Rows rows_;   // inputs, each expert's apart
  Rows inner_;  // silu(gate) * up, likewise
};

/// Rows of `weight` as floats: `out[i] = weight[ids[i]]`.
class EmbeddingWork final : public Work {
 public:
  EmbeddingWork(const PackedMatrix& weight, const int64_t* ids, int64_t tokens, float* out)
      : weight_(weight), ids_(ids), tokens_(tokens), out_(out) {}

  int phases() const override { return 1; }
  int64_t tasks(int) const override { return tokens_; }
  void run(int phase, int64_t begin, int64_t end, void* scratch) override;
  int64_t scratch_bytes() const override { return 0; }

 private:
  PackedMatrix weight_;
  const int64_t* ids_;
  int64_t tokens_;
  float* out_;
};

}  // namespace lfm
