// What one answer can be asked for: the fields of Python's AnswerOptions that a device has.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/generation_config.h"

namespace lfm::core {

struct AnswerOptions {
  LfmSamplingOptions sampling;  // with its seed
  std::vector<int32_t> biased;  // token ids, and what is added to the logit of each
  std::vector<float> biases;    // minus infinity where one is banned
  std::vector<std::string> stops;
  std::optional<int64_t> max_tokens;
  Json thinking_budget;  // as it was given; see make_budget
};

// Which options there are: those of `generate`, or those of a chat.
enum class OptionSet { kGeneration, kAnswer };

// Reads and checks options, an object or null; what is left out is the bundle's default, and the
// seed a fresh one. LFM_INVALID_REQUEST: one is out of range, unknown, or not for devices.
// LFM_UNKNOWN_TOKEN: logit_bias or banned names a token outside the vocabulary.
AnswerOptions read_options(const Json& options, OptionSet set, const GenerationDefaults& defaults,
                           int64_t vocab_size);

}  // namespace lfm::core
