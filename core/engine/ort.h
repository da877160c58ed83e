// ONNX Runtime's C API: found once in a process, called with its errors as exceptions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ort_session.h"

namespace lfm::core {

// What one of ONNX Runtime's functions made, released by another.
template <class T>
using OrtHandle = std::unique_ptr<T, void (*)(T*)>;

struct Ort {
  const OrtApiBase* base = nullptr;
  const OrtApi* api = nullptr;
  OrtEnv* env = nullptr;
  OrtAllocator* allocator = nullptr;  // of the strings that it gives
  std::string version;                // "1.32.0"

  // "WHAT: REASON" as an Error of kind LFM_BUNDLE, where a call failed. Takes the status.
  void check(OrtStatus* status, const std::string& what) const;

  // A string that it made.
  std::string taken(char* text) const;
};

// Where the library lies; LFM_BUNDLE where it does not load. To be called before the first model is
// opened: what is in use stays so.
void use_onnxruntime(const std::string& path);

// The one in use: that of `use_onnxruntime`, else the one that is linked in, else the one that the
// system finds. LFM_BUNDLE: there is none, or it is too old.
const Ort& onnxruntime();

// What our operators compute with, as LFM_OPS_ISA names it, and how far they fetch ahead.
const char* operators_isa();
int64_t operators_prefetch_bytes();

}  // namespace lfm::core
