#include "add_norm.h"
#include "custom_op.h"
#include "ops.h"
#include "runner.h"
#include "weight.h"

namespace lfm {
namespace {

// sum = x + branch; y = sum / rms(sum) * weight
class AddRmsNorm {
 public:
  static constexpr const char* kName = "AddRmsNorm";
  static constexpr Port kInputs[] = {
      {"x", kOrtFloat}, {"weight", kOrtFloat}, {"branch", kOrtFloat, kOrtOptional}};
  static constexpr Port kOutputs[] = {{"y", kOrtFloat}, {"sum", kOrtFloat, kOrtOptional}};

  explicit AddRmsNorm(const Attributes& attributes)
      : hidden_(attributes.size("hidden_size")), epsilon_(attributes.real("epsilon")) {}

  void compute(const Context& context) {
    const Tensor x = context.input(0).require_last(hidden_);
    const AddNorm how{context.input(1).require({hidden_}).as<float>(), epsilon_, hidden_};
    const Tensor branch = context.input(2);
    const Tensor y = context.output_like(0, x);
    float* sum = nullptr;
    if (branch) {
      branch.require_like(x);
      sum = context.output_like(1, x).as_mutable<float>();
    }
    runner_.run(context, AddNormWork(runner_.stateful(), how, x.as<float>(),
                                     branch ? branch.as<float>() : nullptr, sum,
                                     y.as_mutable<float>(), x.rows()));
  }

 private:
  int64_t hidden_;
  float epsilon_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* add_rms_norm_op() { return CustomOp<AddRmsNorm>::get(); }

}  // namespace lfm
