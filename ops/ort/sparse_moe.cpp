#include "sparse_moe.h"

#include "custom_op.h"
#include "ops.h"
#include "runner.h"
#include "weight.h"

namespace lfm {
namespace {

// The feed-forward of a mixture of experts, router included.
class SparseMoe {
 public:
  static constexpr const char* kName = "SparseMoe";
  static constexpr Port kInputs[] = {{"x", kOrtFloat},
                                     {"router", kOrtFloat},
                                     {"expert_bias", kOrtFloat, kOrtOptional},
                                     {"gate_up", kOrtUint8},
                                     {"down", kOrtUint8}};
  static constexpr Port kOutputs[] = {{"y", kOrtFloat}};

  explicit SparseMoe(const Attributes& attributes)
      : gate_up_format_(attributes, "gate_up_format"), down_format_(attributes, "down_format") {
    shape_.gate_up_format = gate_up_format_.get();
    shape_.down_format = down_format_.get();
    shape_.hidden = gate_up_format_.columns(attributes, "hidden_size");
    shape_.inner = down_format_.columns(attributes, "intermediate_size");
    shape_.experts = attributes.integer("num_experts", 1, 1 << 16);
    shape_.top_k = attributes.integer("num_experts_per_tok", 1, shape_.experts);
    shape_.norm_topk_prob = attributes.flag("norm_topk_prob");
    shape_.routed_scaling_factor = attributes.real("routed_scaling_factor");
  }

  void compute(const Context& context) {
    const Tensor x = context.input(0).require_last(shape_.hidden);
    const int64_t experts = shape_.experts, hidden = shape_.hidden, inner = shape_.inner;
    MoeWeights weights;
    weights.router = context.input(1).require({experts, hidden}).as<float>();
    weights.expert_bias = vector_of(context.input(2), experts);
    weights.gate_up =
        gate_up_format_.stack(context.input(3), experts, lfm_ops_gate_up_rows(inner), hidden);
    weights.down = down_format_.stack(context.input(4), experts, hidden, inner);
    const Tensor y = context.output_like(0, x);

    runner_.run(context, x.rows(),
                SparseMoeWork(runner_.kernels(), shape_, weights, x.as<float>(), x.rows(),
                              y.as_mutable<float>()));
  }

 private:
  WeightFormat gate_up_format_, down_format_;
  MoeShape shape_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* sparse_moe_op() { return CustomOp<SparseMoe>::get(); }

}  // namespace lfm
