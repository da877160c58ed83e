// How the next token is drawn, as Python's SamplingOptions has it.
#pragma once

#include <cstdint>

#include "lfm_ops/sampling.h"

namespace lfm::core {

struct SamplingOptions {
  double temperature = 0;  // 0: the most likely token
  int64_t top_k = 0;       // 0: all
  double top_p = 1, min_p = 0;
  double repetition_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
};

// LFM_INVALID_REQUEST: a value is out of its range; names the first.
void check_sampling(const SamplingOptions& options);

// What the sampler takes.
LfmSamplingOptions native_options(const SamplingOptions& options, uint64_t seed);

}  // namespace lfm::core
