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

  // The only value of an int64 [1], 0 where it is optional and absent; throws unless it is from 0
  // to `most`, which is `of_what`.
  int64_t count(size_t index, int64_t most, const char* of_what) const;

  Tensor output(size_t index, const int64_t* dims, size_t rank) const;
  Tensor output(size_t index, std::initializer_list<int64_t> dims) const {
    return output(index, dims.begin(), dims.size());
  }
  // An optional output that nobody asks for has no data.
  Tensor optional_output(size_t index, std::initializer_list<int64_t> dims) const;
  Tensor output_like(size_t index, const Tensor& tensor) const {
    return output(index, tensor.dims.data(), tensor.rank);
  }

 private:
  OrtValue* make_output(size_t index, const int64_t* dims, size_t rank) const;
  void describe(const OrtValue* value, Tensor* tensor) const;

  const OrtApi* api_;
  OrtKernelContext* context_;
  const Port* inputs_;
  const Port* outputs_;
};

}  // namespace lfm
