// A checkpoint's own sampling defaults and end tokens: `generation_config.json`, read by the rules
// of lfm_edge/generation_config.py.
#pragma once

#include <cstdint>
#include <vector>

#include "bundle/bundle.h"
#include "engine/sampling_options.h"

namespace lfm::core {

struct GenerationDefaults {
  SamplingOptions sampling;
  std::vector<int32_t> eos_token_ids;  // of the manifest and the file, sorted
};

// LFM_BUNDLE: the file is malformed or holds a value out of range.
GenerationDefaults read_generation_config(const Bundle& bundle);

}  // namespace lfm::core
