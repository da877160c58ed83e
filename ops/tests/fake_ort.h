// As much of ONNX Runtime as an op calls, so that ops run natively under sanitizers and emulators:
// attributes, tensors in memory of exactly their size, and threads.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ort_abi.h"

namespace fake {

inline size_t element_size(OrtElementType type) {
  switch (type) {
    case kOrtFloat:
      return 4;
    case kOrtInt64:
      return 8;
    case kOrtFloat16:
      return 2;
    default:
      return 1;
  }
}

struct Value {
  Value(OrtElementType element, std::vector<int64_t> shape)
      : type(element), dims(std::move(shape)), data(count() * element_size(type)) {}

  size_t count() const {
    size_t product = 1;
    for (int64_t dim : dims) product *= static_cast<size_t>(dim);
    return product;
  }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data.data());
  }

  OrtElementType type;
  std::vector<int64_t> dims;
  std::vector<std::byte> data;
};

struct Info {
  std::map<std::string, int64_t> integers;
  std::map<std::string, float> reals;
  std::map<std::string, std::string> texts;
};

struct Call {
  const OrtCustomOp* op;
  std::vector<std::optional<Value>>* inputs;
  std::vector<std::unique_ptr<Value>> outputs;
  std::map<size_t, size_t> in_place;  // output -> input
  int threads = 1;
};

namespace detail {

inline OrtStatus* failed(const std::string& message) {
  return reinterpret_cast<OrtStatus*>(new std::string(message));
}
inline Value* value_of(const void* pointer) {
  return static_cast<Value*>(const_cast<void*>(pointer));
}

inline OrtStatus* create_status(OrtErrorCode, const char* message) { return failed(message); }
inline const char* message_of(const OrtStatus* status) {
  return reinterpret_cast<const std::string*>(status)->c_str();
}
inline void release_status(OrtStatus* status) { delete reinterpret_cast<std::string*>(status); }

inline OrtStatus* data_of(OrtValue* value, void** out) {
  Value* v = value_of(value);
  *out = v->data.empty() ? nullptr : v->data.data();
  return nullptr;
}
inline OrtStatus* shape_of(const OrtValue* value, OrtTensorTypeAndShapeInfo** out) {
  *out = reinterpret_cast<OrtTensorTypeAndShapeInfo*>(value_of(value));
  return nullptr;
}
inline OrtStatus* type_of(const OrtTensorTypeAndShapeInfo* info, OrtElementType* out) {
  *out = value_of(info)->type;
  return nullptr;
}
inline OrtStatus* rank_of(const OrtTensorTypeAndShapeInfo* info, size_t* out) {
  *out = value_of(info)->dims.size();
  return nullptr;
}
inline OrtStatus* dims_of(const OrtTensorTypeAndShapeInfo* info, int64_t* out, size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = value_of(info)->dims[i];
  return nullptr;
}
inline void release_shape(OrtTensorTypeAndShapeInfo*) {}

template <class T>
OrtStatus* find(const std::map<std::string, T>& values, const char* name, T* out) {
  const auto found = values.find(name);
  if (found == values.end()) return failed("no such attribute");
  *out = found->second;
  return nullptr;
}
inline OrtStatus* real_attribute(const OrtKernelInfo* info, const char* name, float* out) {
  return find(reinterpret_cast<const Info*>(info)->reals, name, out);
}
inline OrtStatus* integer_attribute(const OrtKernelInfo* info, const char* name, int64_t* out) {
  return find(reinterpret_cast<const Info*>(info)->integers, name, out);
}
inline OrtStatus* text_attribute(const OrtKernelInfo* info, const char* name, char* out,
                                 size_t* size) {
  std::string text;
  OrtStatus* status = find(reinterpret_cast<const Info*>(info)->texts, name, &text);
  if (status != nullptr) return status;
  if (out != nullptr) {
    if (*size <= text.size()) return failed("not enough room");
    std::memcpy(out, text.c_str(), text.size() + 1);
  }
  *size = text.size() + 1;
  return nullptr;
}
inline OrtStatus* node_name(const OrtKernelInfo*, char* out, size_t* size) {
  if (out != nullptr) std::memcpy(out, "fake", 5);
  *size = 5;
  return nullptr;
}

inline const Call* call_of(const OrtKernelContext* context) {
  return reinterpret_cast<const Call*>(context);
}
inline OrtStatus* input_count(const OrtKernelContext* context, size_t* out) {
  *out = call_of(context)->inputs->size();
  return nullptr;
}
inline OrtStatus* output_count(const OrtKernelContext* context, size_t* out) {
  const OrtCustomOp* op = call_of(context)->op;
  *out = op->GetOutputTypeCount(op);
  return nullptr;
}
inline OrtStatus* input(const OrtKernelContext* context, size_t index, const OrtValue** out) {
  auto& value = (*call_of(context)->inputs)[index];
  *out = value ? reinterpret_cast<const OrtValue*>(&*value) : nullptr;
  return nullptr;
}
inline OrtStatus* output(OrtKernelContext* context, size_t index, const int64_t* dims, size_t rank,
                         OrtValue** out) {
  auto* call = reinterpret_cast<Call*>(context);
  const std::vector<int64_t> shape(dims, dims + rank);
  if (call->in_place.count(index) != 0) {
    auto& shared = (*call->inputs)[call->in_place[index]];
    if (!shared || shared->dims != shape) return failed("the bound output has another shape");
    *out = reinterpret_cast<OrtValue*>(&*shared);
    return nullptr;
  }
  call->outputs.resize(call->op->GetOutputTypeCount(call->op));
  call->outputs[index] = std::make_unique<Value>(call->op->GetOutputType(call->op, index), shape);
  *out = reinterpret_cast<OrtValue*>(call->outputs[index].get());
  return nullptr;
}
inline OrtStatus* parallel_for(const OrtKernelContext* context, void (*fn)(void*, size_t),
                               size_t total, size_t, void* user) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < total; i = next++) fn(user, i);
  };
  std::vector<std::thread> others;
  for (int i = 1; i < call_of(context)->threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  return nullptr;
}

}  // namespace detail

inline const OrtApi* api() {
  static const OrtApi table = [] {
    OrtApi a{};
    const auto set = [&a](int slot, auto* function) {
      a.slot[slot] = reinterpret_cast<void*>(function);
    };
    set(0, detail::create_status);
    set(2, detail::message_of);
    set(51, detail::data_of);
    set(60, detail::type_of);
    set(61, detail::rank_of);
    set(62, detail::dims_of);
    set(65, detail::shape_of);
    set(85, detail::real_attribute);
    set(86, detail::integer_attribute);
    set(87, detail::text_attribute);
    set(88, detail::input_count);
    set(89, detail::output_count);
    set(90, detail::input);
    set(91, detail::output);
    set(93, detail::release_status);
    set(99, detail::release_shape);
    set(244, detail::node_name);
    set(274, detail::parallel_for);
    return a;
  }();
  return &table;
}

/// The message of a status, which is released; empty for success.
inline std::string take(OrtStatus* status) {
  if (status == nullptr) return {};
  std::string message = detail::message_of(status);
  detail::release_status(status);
  return message;
}

/// Creates a kernel and runs it once; the message of what failed, or nothing.
inline std::string run(const Info& info, Call& call) {
  void* kernel = nullptr;
  const std::string message = take(call.op->CreateKernelV2(
      call.op, api(), reinterpret_cast<const OrtKernelInfo*>(&info), &kernel));
  if (!message.empty()) return message;
  auto* context = reinterpret_cast<OrtKernelContext*>(&call);
  const std::string failure = take(call.op->KernelComputeV2(kernel, context));
  call.op->KernelDestroy(kernel);
  return failure;
}

}  // namespace fake
