// ONNX Runtime's C API: found once in a process, called with its errors as exceptions.
#pragma once

#include <memory>
#include <string>

#include "ort_session.h"

namespace lfm::core {

// Releases with the function that ONNX Runtime has for it; empty by default.
template <class T>
using OrtHandle = std::unique_ptr<T, void (*)(T*)>;

struct Ort {
  const OrtApiBase* base = nullptr;
  const OrtApi* api = nullptr;
  std::string version;  // "1.32.0"

  // An Error of kind LFM_BUNDLE, "WHAT: REASON", where a call failed; takes the status.
  void check(OrtStatus* status, const std::string& what) const;
};

// Where the library lies; LFM_BUNDLE where it does not load. Has no effect on what is in use.
void use_onnxruntime(const std::string& path);

// The one in use: that of `use_onnxruntime`, else the one linked in, else where the system looks.
// LFM_BUNDLE: there is none, or it is too old.
const Ort& onnxruntime();

// Our operators', as LFM_OPS_ISA names it.
const char* operators_isa();
int64_t operators_prefetch_bytes();

}  // namespace lfm::core
