#include "lfm_ops/register.h"

#include <mutex>
#include <string>
#include <vector>

#include "failure.h"
#include "ops.h"
#include "prefetch.h"
#include "runner.h"

namespace lfm {
namespace {

// Empty, or which variable of the environment cannot be obeyed, and why.
std::string environment_error;

Isa choose() {
  const Isa isa = choose_isa(environment_error);
  const std::string error = begin_prefetching(kernels_for(isa).prefetch_one);
  if (environment_error.empty()) environment_error = error;
  return isa;
}

// The domain with all ops, made once for each ONNX Runtime in the process (there may be several):
// sessions keep pointers to it, so it lives as long as the process.
OrtCustomOpDomain* domain_of(const OrtApi* api) {
  struct Known {
    const OrtApi* api;
    OrtCustomOpDomain* domain;
  };
  static std::mutex mutex;
  static auto& known = *new std::vector<Known>;
  const std::lock_guard<std::mutex> lock(mutex);
  for (const Known& one : known) {
    if (one.api == api) return one.domain;
  }
  known.reserve(known.size() + 1);
  OrtCustomOpDomain* domain = nullptr;
  check(api, ort_CreateCustomOpDomain(api)("ai.lfm", &domain));
  for (const OrtCustomOp* op :
       {add_rms_norm_op(), quantized_linear_op(), quantized_embedding_op(), gated_mlp_op(),
        sparse_moe_op(), gated_short_conv_op(), cached_attention_float_op(),
        cached_attention_float16_op(), cached_attention_int8_op()}) {
    check(api, ort_CustomOpDomain_Add(api)(domain, op));
  }
  known.push_back({api, domain});
  return domain;
}

// Some API, however old: enough to make a status.
const OrtApi* oldest_api(const OrtApiBase* base) {
  for (uint32_t version = kOrtApiVersion; version > 0; --version) {
    if (const OrtApi* api = base->GetApi(version)) return api;
  }
  return nullptr;
}

}  // namespace

Isa chosen_isa() {
  static const Isa isa = choose();
  return isa;
}

}  // namespace lfm

extern "C" const char* lfm_ops_isa() { return lfm::isa_name(lfm::chosen_isa()); }

extern "C" int64_t lfm_ops_prefetch_bytes() {
  lfm::chosen_isa();
  return lfm::prefetch_bytes;
}

extern "C" OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(kOrtApiVersion);
  if (api == nullptr) {
    const std::string message = std::string("lfm_ops: got ONNX Runtime ") +
                                base->GetVersionString() + ", want 1.16 or newer";
    return ort_CreateStatus(lfm::oldest_api(base))(kOrtFail, message.c_str());
  }
  try {
    lfm::chosen_isa();
    if (!lfm::environment_error.empty()) throw lfm::Failure("lfm_ops: " + lfm::environment_error);
    return ort_AddCustomOpDomain(api)(options, lfm::domain_of(api));
  } catch (const std::exception& error) {
    return ort_CreateStatus(api)(kOrtFail, error.what());
  }
}
