// A checkpoint's own sampling defaults and end tokens: `generation_config.json`, read by the rules
// of lfm_edge/generation_config.py.
#pragma once

#include <cstdint>
#include <vector>

#include "bundle/bundle.h"
#include "lfm_ops/sampling.h"

namespace lfm::core {

struct GenerationDefaults {
  LfmSamplingOptions sampling;         // the seed is 0 and means nothing
  std::vector<int32_t> eos_token_ids;  // of the manifest and the file, sorted
};

// Python's ranges: LFM_INVALID_REQUEST names the first option that is out of its own.
void check_sampling(const LfmSamplingOptions& options);

// LFM_BUNDLE: the file is malformed or holds a value out of range.
GenerationDefaults read_generation_config(const Bundle& bundle);

}  // namespace lfm::core
