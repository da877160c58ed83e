// From a class to an OrtCustomOp. The class gives kName, kInputs, kOutputs, a constructor from
// Attributes and `void compute(const Context&)`, which several threads may call at once.
#pragma once

#include <climits>
#include <exception>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "attributes.h"
#include "context.h"

namespace lfm {

template <class Op>
class CustomOp {
 public:
  static const OrtCustomOp* get() {
    static const OrtCustomOp op = describe();
    return &op;
  }

 private:
  struct Kernel {
    explicit Kernel(const Attributes& attributes)
        : api(attributes.api()), node(attributes.node()), op(attributes) {}
    const OrtApi* api;
    std::string node;
    Op op;
  };

  // Runs `body`; an exception becomes a status that names the op and its node.
  template <class Body>
  static OrtStatus* guarded(const OrtApi* api, const std::string& node, const Body& body) {
    try {
      try {
        body();
        return nullptr;
      } catch (const std::bad_alloc&) {
        throw Failure("out of memory");
      }
    } catch (const std::exception& error) {
      return status(api, node, error.what());
    }
  }

  static OrtStatus* status(const OrtApi* api, const std::string& node, const char* what) noexcept {
    try {
      std::string message = Op::kName;
      if (!node.empty()) message += " '" + node + "'";
      message += std::string(": ") + what;
      return ort_CreateStatus(api)(kOrtInvalidArgument, message.c_str());
    } catch (const std::exception&) {
      return ort_CreateStatus(api)(kOrtInvalidArgument, Op::kName);
    }
  }

  static OrtStatus* create(const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info,
                           void** kernel) {
    const Attributes attributes(api, info);
    std::string node;
    return guarded(api, node, [&] {
      node = attributes.node();
      *kernel = new Kernel(attributes);
    });
  }

  static OrtStatus* compute(void* pointer, OrtKernelContext* context) {
    auto* kernel = static_cast<Kernel*>(pointer);
    return guarded(kernel->api, kernel->node, [&] {
      kernel->op.compute(Context(kernel->api, context, Op::kInputs, Op::kOutputs));
    });
  }

  static OrtCustomOp describe() {
    OrtCustomOp op{};
    op.version = kOrtApiVersion;
    op.GetName = [](const OrtCustomOp*) { return Op::kName; };
    op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* {
      return nullptr;  // the CPU
    };
    op.GetInputType = [](const OrtCustomOp*, size_t i) { return Op::kInputs[i].type; };
    op.GetInputTypeCount = [](const OrtCustomOp*) { return std::size(Op::kInputs); };
    op.GetOutputType = [](const OrtCustomOp*, size_t i) { return Op::kOutputs[i].type; };
    op.GetOutputTypeCount = [](const OrtCustomOp*) { return std::size(Op::kOutputs); };
    op.GetInputCharacteristic = [](const OrtCustomOp*, size_t i) { return Op::kInputs[i].need; };
    op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t i) { return Op::kOutputs[i].need; };
    op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return kOrtMemoryDefault; };
    op.CreateKernelV2 = create;
    op.KernelComputeV2 = compute;
    op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
    op.GetEndVersion = [](const OrtCustomOp*) { return INT_MAX; };
    return op;
  }
};

}  // namespace lfm
