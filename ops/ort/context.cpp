#include "context.h"

namespace lfm {

Tensor Context::input(size_t index) const {
  const Port& port = inputs_[index];
  Tensor tensor;
  tensor.name = port.name;
  size_t count = 0;
  check(api_, ort_KernelContext_GetInputCount(api_)(context_, &count));
  const OrtValue* value = nullptr;
  if (index < count) check(api_, ort_KernelContext_GetInput(api_)(context_, index, &value));
  if (value == nullptr) {
    if (port.need == kOrtRequired) throw Failure(std::string(port.name) + ": missing");
    return tensor;
  }
  describe(value, &tensor);
  if (port.type != kOrtUndefined && tensor.type != port.type) {
    throw Failure(std::string(port.name) + ": got " + type_name(tensor.type) + ", want " +
                  type_name(port.type));
  }
  return tensor;
}

Tensor Context::output(size_t index, const int64_t* dims, size_t rank) const {
  Tensor tensor;
  tensor.name = outputs_[index].name;
  size_t count = 0;
  check(api_, ort_KernelContext_GetOutputCount(api_)(context_, &count));
  if (index >= count) throw Failure(std::string(tensor.name) + ": output missing");
  OrtValue* value = nullptr;
  check(api_, ort_KernelContext_GetOutput(api_)(context_, index, dims, rank, &value));
  if (value == nullptr) throw Failure(std::string(tensor.name) + ": output missing");
  describe(value, &tensor);
  return tensor;
}

void Context::describe(const OrtValue* value, Tensor* tensor) const {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api_, ort_GetTensorTypeAndShape(api_)(value, &info));
  OrtStatus* status = ort_GetTensorElementType(api_)(info, &tensor->type);
  if (status == nullptr) status = ort_GetDimensionsCount(api_)(info, &tensor->rank);
  if (status == nullptr && tensor->rank <= Tensor::kMaxRank) {
    status = ort_GetDimensions(api_)(info, tensor->dims.data(), tensor->rank);
  }
  ort_ReleaseTensorTypeAndShapeInfo(api_)(info);
  check(api_, status);
  if (tensor->rank > Tensor::kMaxRank) {
    throw Failure(std::string(tensor->name) + ": got rank " + std::to_string(tensor->rank) +
                  ", want at most " + std::to_string(Tensor::kMaxRank));
  }
  void* data = nullptr;
  check(api_, ort_GetTensorMutableData(api_)(const_cast<OrtValue*>(value), &data));
  static char empty;  // a tensor of no elements is present all the same
  tensor->data = data == nullptr ? &empty : data;
}

}  // namespace lfm
