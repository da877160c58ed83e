#include "custom_op.h"
#include "embedding.h"
#include "ops.h"
#include "runner.h"
#include "weight.h"

namespace lfm {
namespace {

// The rows of W that `ids` name.
class QuantizedEmbedding {
 public:
  static constexpr const char* kName = "QuantizedEmbedding";
  static constexpr Port kInputs[] = {{"ids", kOrtInt64}, {"weight", kOrtUint8}};
  static constexpr Port kOutputs[] = {{"y", kOrtFloat}};

  explicit QuantizedEmbedding(const Attributes& attributes)
      : format_(attributes, "format"),
        rows_(attributes.size("rows")),
        columns_(format_.columns(attributes, "columns")) {}

  void compute(const Context& context) {
    const Tensor ids = context.input(0).require({1, kAny});
    const PackedMatrix weight = format_.matrix(context.input(1), rows_, columns_);
    const int64_t tokens = ids.last();
    for (int64_t i = 0; i < tokens; ++i) check_id(ids.as<int64_t>()[i], i);
    const Tensor y = context.output(0, {1, tokens, columns_});
    runner_.run(context, EmbeddingWork(weight, ids.as<int64_t>(), tokens, y.as_mutable<float>()));
  }

 private:
  void check_id(int64_t id, int64_t position) const {
    if (id >= 0 && id < rows_) return;
    throw Failure("ids: got " + std::to_string(id) + " at position " + std::to_string(position) +
                  ", want 0 to " + std::to_string(rows_ - 1));
  }

  WeightFormat format_;
  int64_t rows_, columns_;
  Runner runner_;
};

}  // namespace

const OrtCustomOp* quantized_embedding_op() { return CustomOp<QuantizedEmbedding>::get(); }

}  // namespace lfm
