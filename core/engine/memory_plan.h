// What a bundle needs, before anything of it is loaded.
#pragma once

#include <cstdint>

#include "bundle/bundle.h"

namespace lfm::core {

// Bytes, of a session of `context` tokens.
struct MemoryPlan {
  int64_t context = 0, max_context = 0;
  int64_t weights = 0;          // read from mapped files: the system may drop and read them again
  int64_t state = 0;            // of a full session
  int64_t scratch = 0;          // an estimate: of a run, and of ONNX Runtime itself
  int64_t bytes_per_token = 0;  // of the state

  int64_t total() const;
};

// `context` as capacity_for takes it.
MemoryPlan plan_memory(const Bundle& bundle, int64_t context);

}  // namespace lfm::core
