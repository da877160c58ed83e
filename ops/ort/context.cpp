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

int64_t Context::count(size_t index, int64_t most, const char* of_what) const {
  const Tensor tensor = input(index);
  if (!tensor) return 0;
  const int64_t value = *tensor.require({1}).as<int64_t>();
  if (value < 0 || value > most) {
    throw Failure(std::string(tensor.name) + ": got " + std::to_string(value) + ", want 0 to " +
                  std::to_string(most) + ", " + of_what);
  }
  return value;
}

Tensor Context::output(size_t index, const int64_t* dims, size_t rank) const {
  Tensor tensor;
  tensor.name = outputs_[index].name;
  OrtValue* value = make_output(index, dims, rank);
  if (value == nullptr) throw Failure(std::string(tensor.name) + ": output missing");
  describe(value, &tensor);
  return tensor;
}

Tensor Context::optional_output(size_t index, std::initializer_list<int64_t> dims) const {
  Tensor tensor;
  tensor.name = outputs_[index].name;
  OrtValue* value = make_output(index, dims.begin(), dims.size());
  if (value != nullptr) describe(value, &tensor);
  return tensor;
}

OrtValue* Context::make_output(size_t index, const int64_t* dims, size_t rank) const {
  size_t count = 0;
  check(api_, ort_KernelContext_GetOutputCount(api_)(context_, &count));
  OrtValue* value = nullptr;
  if (index < count) {
    check(api_, ort_KernelContext_GetOutput(api_)(context_, index, dims, rank, &value));
  }
  return value;
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
