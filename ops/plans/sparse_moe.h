// The feed-forward of a mixture of experts, cut into tasks.
#pragma once

#include "multiply.h"
#include "work.h"

namespace lfm {

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
                const float* x, int64_t tokens, float* out);

  void lay_out(Workspace& space) override;
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

}  // namespace lfm
