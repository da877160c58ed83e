#include "engine/ort.h"

#include <dlfcn.h>

#include <mutex>
#include <optional>

#include "base/error.h"
#include "base/utf8.h"
#include "lfm_ops/register.h"

#ifdef LFM_CORE_LINKED_ONNXRUNTIME
extern "C" const OrtApiBase* OrtGetApiBase(void);
#endif

namespace lfm::core {
namespace {

using GetApiBase = const OrtApiBase* (*)(void);

constexpr size_t kLongestReason = 500;
constexpr const char* kOldest = "1.16";  // whose API is kOrtApiVersion
#ifdef __APPLE__
constexpr const char* kLibrary = "libonnxruntime.dylib";
#else
constexpr const char* kLibrary = "libonnxruntime.so";
#endif

// The words of a text with one space between them, as a line of an error has them.
std::string one_line(const std::string& text) {
  std::string line;
  bool space = false;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      space = !line.empty();
      continue;
    }
    if (space) line += ' ';
    space = false;
    line += c;
  }
  return replaced_utf8(line.substr(0, kLongestReason));
}

// As Python's bindings write a status.
std::string described(OrtErrorCode code, const std::string& message) {
  constexpr const char* names[] = {"SUCCESS",           "FAIL",
                                   "INVALID_ARGUMENT",  "NO_SUCHFILE",
                                   "NO_MODEL",          "ENGINE_ERROR",
                                   "RUNTIME_EXCEPTION", "INVALID_PROTOBUF",
                                   "MODEL_LOADED",      "NOT_IMPLEMENTED",
                                   "INVALID_GRAPH",     "EP_FAIL"};
  const auto number = static_cast<size_t>(code);
  const char* const name = number < sizeof names / sizeof *names ? names[number] : "GENERAL ERROR";
  return "[ONNXRuntimeError] : " + std::to_string(number) + " : " + name + " : " + message;
}

[[noreturn]] void refuse(const std::string& what, const std::string& reason) {
  throw Error(LFM_BUNDLE, what + ": " + one_line(reason));
}

std::string loading_error() {
  const char* const reason = dlerror();
  return reason != nullptr ? reason : "the system does not say why";
}

GetApiBase load(const std::string& path) {
  const std::string what = path + ": ONNX Runtime's library does not load";
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) refuse(what, loading_error());
  void* const found = dlsym(library, "OrtGetApiBase");
  if (found == nullptr) refuse(what, "it has no OrtGetApiBase");
  return reinterpret_cast<GetApiBase>(found);
}

GetApiBase linked_in() {
#ifdef LFM_CORE_LINKED_ONNXRUNTIME
  return OrtGetApiBase;
#else
  return reinterpret_cast<GetApiBase>(dlsym(RTLD_DEFAULT, "OrtGetApiBase"));
#endif
}

GetApiBase found_by_the_system() {
  try {
    return load(kLibrary);
  } catch (const Error& error) {
    throw Error(LFM_BUNDLE,
                std::string(error.what()) +
                    "; name the library by lfm_use_onnxruntime before a model is opened");
  }
}

Ort opened(GetApiBase get) {
  Ort ort;
  ort.base = get();
  ort.version = ort.base->GetVersionString();
  ort.api = ort.base->GetApi(kOrtApiVersion);
  const std::string what = "ONNX Runtime " + ort.version;
  if (ort.api == nullptr) refuse(what, std::string("expected ") + kOldest + " or newer");
  ort.check(ort_CreateEnv(ort.api)(kOrtLogFatal, "lfm_core", &ort.env), what);
  ort.check(ort_GetAllocatorWithDefaultOptions(ort.api)(&ort.allocator), what);
  return ort;
}

std::mutex mutex;
GetApiBase named = nullptr;

// Never destroyed: threads may still run a graph when the process ends.
std::optional<Ort>& in_use() {
  static auto* const ort = new std::optional<Ort>;
  return *ort;
}

}  // namespace

void Ort::check(OrtStatus* status, const std::string& what) const {
  if (status == nullptr) return;
  const std::string reason =
      described(ort_GetErrorCode(api)(status), ort_GetErrorMessage(api)(status));
  ort_ReleaseStatus(api)(status);
  refuse(what, reason);
}

std::string Ort::taken(char* text) const {
  std::string copy = text != nullptr ? text : "";
  if (text != nullptr) check(ort_AllocatorFree(api)(allocator, text), "ONNX Runtime");
  return copy;
}

void use_onnxruntime(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex);
  named = load(path);
}

const Ort& onnxruntime() {
  const std::lock_guard<std::mutex> lock(mutex);
  std::optional<Ort>& ort = in_use();
  if (!ort) {
    GetApiBase get = named != nullptr ? named : linked_in();
    ort = opened(get != nullptr ? get : found_by_the_system());
  }
  return *ort;
}

const char* operators_isa() { return lfm_ops_isa(); }

int64_t operators_prefetch_bytes() { return lfm_ops_prefetch_bytes(); }

}  // namespace lfm::core
