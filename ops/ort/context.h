// One call of an op: its input and output tensors, and the threads of its session.
#pragma once

#include <initializer_list>

#include "tensor.h"

namespace lfm {

// An input or output of an op. kOrtUndefined as type: several are possible, the op checks.
struct Port {
  const char* name;
  OrtElementType type;
  OrtCharacteristic need = kOrtRequired;
};

class Context {
 public:
  Context(const OrtApi* api, OrtKernelContext* context, const Port* inputs, const Port* outputs)
      : api_(api), context_(context), inputs_(inputs), outputs_(outputs) {}

  const OrtApi* api() const { return api_; }
  OrtKernelContext* handle() const { return context_; }

  // An optional input that is absent has no data.
  Tensor input(size_t index) const;

  Tensor output(size_t index, const int64_t* dims, size_t rank) const;
  Tensor output(size_t index, std::initializer_list<int64_t> dims) const {
    return output(index, dims.begin(), dims.size());
  }
  Tensor output_like(size_t index, const Tensor& tensor) const {
    return output(index, tensor.dims.data(), tensor.rank);
  }

 private:
  void describe(const OrtValue* value, Tensor* tensor) const;

  const OrtApi* api_;
  OrtKernelContext* context_;
  const Port* inputs_;
  const Port* outputs_;
};

}  // namespace lfm
