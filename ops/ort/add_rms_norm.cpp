#include "custom_op.h"
#include "ops.h"
#include "runner.h"
#include "weight.h"

namespace lfm {
namespace {

// One task is one token.
class AddNormWork final : public Work {
 public:
  AddNormWork(const StatefulKernels& kernels, const AddNorm& how, const float* x,
              const float* branch, float* sum, float* out, int64_t tokens)
      : kernels_(kernels),
        how_(how),
        x_(x),
        branch_(branch),
        sum_(sum),
        out_(out),
        tokens_(tokens) {}

  int phases() const override { return 1; }
  int64_t tasks(int) const override { return tokens_; }
  int64_t scratch_bytes() const override { return 0; }
  void run(int, int64_t begin, int64_t end, void*) override {
    for (int64_t token = begin; token < end; ++token) {
      const int64_t at = token * how_.size;
      const float* branch = branch_ == nullptr ? nullptr : branch_ + at;
      kernels_.add_norm(how_, x_ + at, branch, branch == nullptr ? nullptr : sum_ + at, out_ + at);
    }
  }

 private:
  const StatefulKernels& kernels_;
  AddNorm how_;
  const float* x_;
  const float* branch_;
  float* sum_;
  float* out_;
  int64_t tokens_;
};

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
    runner_.run(context, 0, [&](void*) {
      return AddNormWork(runner_.stateful(), how, x.as<float>(),
                         branch ? branch.as<float>() : nullptr, sum, y.as_mutable<float>(),
                         x.rows());
    });
  }

 private:
  int64_t hidden_;
  float epsilon_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* add_rms_norm_op() { return CustomOp<AddRmsNorm>::get(); }

}  // namespace lfm
