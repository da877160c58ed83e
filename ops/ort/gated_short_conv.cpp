#include "custom_op.h"
#include "ops.h"
#include "runner.h"
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
                                     {"past", kOrtFloat}};
  static constexpr Port kOutputs[] = {{"y", kOrtFloat}, {"present", kOrtFloat}};

  explicit GatedShortConv(const Attributes& attributes)
      : format_(attributes),
        hidden_(WeightFormat::columns(attributes, "hidden_size")),
        kernel_(attributes.integer("kernel_size", 2, kMaxConvTaps)) {}

  void compute(const Context& context) {
    const Tensor x = context.input(0).require({1, kAny, hidden_});
    const PackedMatrix in_proj = format_.matrix(context.input(1), 3 * hidden_, hidden_);
    const float* in_bias = vector_of(context.input(2), 3 * hidden_);
    ShortConv conv{};
    conv.taps = context.input(3).require({hidden_, 1, kernel_}).as<float>();
    conv.bias = vector_of(context.input(4), hidden_);
    const PackedMatrix out_proj = format_.matrix(context.input(5), hidden_, hidden_);
    const float* out_bias = vector_of(context.input(6), hidden_);
    const Tensor past = context.input(7).require({1, hidden_, kernel_ - 1});
    const Tensor y = context.output_like(0, x);
    conv.past = past.as<float>();
    conv.present = context.output_like(1, past).as_mutable<float>();
    conv.tokens = x.dims[1];
    conv.hidden = hidden_;
    conv.kernel = kernel_;

    const int64_t workspace = LinearWork::workspace_bytes(format_.bits, conv.tokens, hidden_);
    const size_t projected = conv.tokens * 3 * hidden_, gated = conv.tokens * hidden_;
    Scratch scratch(runner_.pool(),
                    Scratch::aligned(workspace) + Scratch::aligned(projected * sizeof(float)) +
                        Scratch::aligned(gated * sizeof(float)) + Runner::scratch_bytes());
    auto* memory = scratch.part<std::byte>(workspace);
    auto* between = scratch.part<float>(projected);
    conv.projected = between;
    conv.out = scratch.part<float>(gated);
    auto* threads = scratch.part<std::byte>(Runner::scratch_bytes());

    LinearWork before(runner_.kernels(), in_proj, in_bias, x.as<float>(), conv.tokens, between,
                      memory);
    runner_.run(context, before, threads);
    convolve(context, conv);
    LinearWork after(runner_.kernels(), out_proj, out_bias, conv.out, conv.tokens,
                     y.as_mutable<float>(), memory);
    runner_.run(context, after, threads);
  }

 private:
  // A task is 64 channels: few tokens are not worth waking a thread for.
  void convolve(const Context& context, const ShortConv& conv) {
    constexpr int64_t kChannels = 64;
    const auto some = [&](int64_t begin, int64_t end, int) {
      runner_.stateful().short_conv(conv, begin * kChannels,
                                    std::min(end * kChannels, conv.hidden));
    };
    const int64_t tasks = (conv.hidden + kChannels - 1) / kChannels;
    if (conv.tokens < 4) return some(0, tasks, 0);
    runner_.team(context).run(tasks, some);
  }

  WeightFormat format_;
  int64_t hidden_, kernel_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* gated_short_conv_op() { return CustomOp<GatedShortConv>::get(); }

}  // namespace lfm
