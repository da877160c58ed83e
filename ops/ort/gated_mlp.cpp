#include "gated_mlp.h"

#include "custom_op.h"
#include "ops.h"
#include "runner.h"
#include "weight.h"

namespace lfm {
namespace {

// y = down(silu(gate(x)) * up(x))
class GatedMlp {
 public:
  static constexpr const char* kName = "GatedMlp";
  static constexpr Port kInputs[] = {{"x", kOrtFloat}, {"gate_up", kOrtUint8}, {"down", kOrtUint8}};
  static constexpr Port kOutputs[] = {{"y", kOrtFloat}};

  explicit GatedMlp(const Attributes& attributes)
      : gate_up_format_(attributes, "gate_up_format"),
        down_format_(attributes, "down_format"),
        hidden_(gate_up_format_.columns(attributes, "hidden_size")),
        inner_(down_format_.columns(attributes, "intermediate_size")) {}

  void compute(const Context& context) {
    const Tensor x = context.input(0).require_last(hidden_);
    const PackedMatrix gate_up =
        gate_up_format_.matrix(context.input(1), lfm_ops_gate_up_rows(inner_), hidden_);
    const PackedMatrix down = down_format_.matrix(context.input(2), hidden_, inner_);
    const Tensor y = context.output_like(0, x);

    runner_.run(context, x.rows(),
                GatedMlpWork(runner_.kernels(), gate_up, down, x.as<float>(), x.rows(),
                             y.as_mutable<float>()));
  }

 private:
  WeightFormat gate_up_format_, down_format_;
  int64_t hidden_, inner_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* gated_mlp_op() { return CustomOp<GatedMlp>::get(); }

}  // namespace lfm
