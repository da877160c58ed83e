#include "custom_op.h"
#include "linear.h"
#include "ops.h"
#include "runner.h"
#include "weight.h"

namespace lfm {
namespace {

// y = x W^T + bias
class QuantizedLinear {
 public:
  static constexpr const char* kName = "QuantizedLinear";
  static constexpr Port kInputs[] = {
      {"x", kOrtFloat}, {"weight", kOrtUint8}, {"bias", kOrtFloat, kOrtOptional}};
  static constexpr Port kOutputs[] = {{"y", kOrtFloat}};

  explicit QuantizedLinear(const Attributes& attributes)
      : format_(attributes, "format"),
        rows_(attributes.size("rows")),
        columns_(format_.columns(attributes, "columns")) {}

  void compute(const Context& context) {
    const Tensor x = context.input(0).require_last(columns_);
    const PackedMatrix weight = format_.matrix(context.input(1), rows_, columns_);
    const float* bias = vector_of(context.input(2), rows_);
    Tensor shape = x;
    shape.dims[x.rank - 1] = rows_;
    const Tensor y = context.output_like(0, shape);

    runner_.run(context, x.rows(),
                LinearWork(runner_.kernels(), weight, bias, x.as<float>(), x.rows(),
                           y.as_mutable<float>()));
  }

 private:
  WeightFormat format_;
  int64_t rows_, columns_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* quantized_linear_op() { return CustomOp<QuantizedLinear>::get(); }

}  // namespace lfm
