#include "custom_op.h"
#include "ops.h"
#include "runner.h"
#include "short_conv.h"
#include "weight.h"

namespace lfm {
namespace {

// B, C, v = split(in_proj(x)); y = out_proj(C * conv(B * v)); the last inputs of conv are state.
class GatedShortConv {
 public:
  static constexpr const char* kName = "GatedShortConv";
  static constexpr Port kInputs[] = {{"x", kOrtFloat},
                                     {"in_proj", kOrtUint8},
                                     {"in_bias", kOrtFloat, kOrtOptional},
                                     {"taps", kOrtFloat},
                                     {"conv_bias", kOrtFloat, kOrtOptional},
                                     {"out_proj", kOrtUint8},
                                     {"out_bias", kOrtFloat, kOrtOptional},
                                     {"past", kOrtFloat},
                                     {"kept_columns", kOrtInt64, kOrtOptional}};
  static constexpr Port kOutputs[] = {
      {"y", kOrtFloat}, {"present", kOrtFloat}, {"columns", kOrtFloat, kOrtOptional}};

  explicit GatedShortConv(const Attributes& attributes)
      : in_proj_format_(attributes, "in_proj_format"),
        out_proj_format_(attributes, "out_proj_format"),
        hidden_(in_proj_format_.columns(attributes, "hidden_size")),
        kernel_(attributes.integer("kernel_size", 2, kMaxConvTaps)) {
    out_proj_format_.columns(attributes, "hidden_size");
  }

  void compute(const Context& context) {
    const Tensor x = context.input(0).require({1, kAny, hidden_});
    ShortConvWeights weights{};
    weights.in_proj = in_proj_format_.matrix(context.input(1), 3 * hidden_, hidden_);
    weights.in_bias = vector_of(context.input(2), 3 * hidden_);
    weights.taps = context.input(3).require({hidden_, 1, kernel_}).as<float>();
    weights.conv_bias = vector_of(context.input(4), hidden_);
    weights.out_proj = out_proj_format_.matrix(context.input(5), hidden_, hidden_);
    weights.out_bias = vector_of(context.input(6), hidden_);
    weights.kernel = kernel_;
    const Tensor past = context.input(7).require({1, hidden_, kernel_ - 1});
    const Tensor y = context.output_like(0, x);
    const Tensor present = context.output_like(1, past);

    const int64_t tokens = x.dims[1], state = kernel_ - 1;
    const int64_t kept =
        context.count(8, state + tokens, "the columns of past and the tokens of x");
    const Tensor columns = context.optional_output(2, {1, hidden_, kept});

    runner_.run(
        context, tokens,
        GatedShortConvWork(runner_.kernels(), runner_.stateful(), weights, x.as<float>(), tokens,
                           {past.as<float>(), present.as_mutable<float>(),
                            columns.as_mutable<float>(), columns ? kept : 0},
                           y.as_mutable<float>()));
  }

 private:
  WeightFormat in_proj_format_, out_proj_format_;
  int64_t hidden_, kernel_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* gated_short_conv_op() { return CustomOp<GatedShortConv>::get(); }

}  // namespace lfm
