// Draws the tokens of one answer, as lfm_edge/sampling.py does.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "answer/options.h"

namespace lfm::core {

class Sampler {
 public:
  Sampler(const AnswerOptions& options, int64_t vocab_size);

  // Tells which tokens the prompt has, for the repetition penalty.
  void observe(const std::vector<int32_t>& ids);

  // Makes `ids` the next tokens of the answer, whatever the logits say.
  void force(const std::vector<int32_t>& ids);

  // Whether the next token is one of those.
  bool is_forced() const { return !forced_.empty(); }

  // The next token for `logits` [vocab_size], which are changed while this runs, and are afterwards
  // what they were. LFM_BUNDLE: the logits hold NaN or infinity, or nothing finite.
  // LFM_INVALID_REQUEST: every token is banned. LFM_NO_MEMORY.
  int32_t sample(float* logits);

 private:
  std::unique_ptr<LfmSampler, void (*)(LfmSampler*)> native_;
  std::deque<int32_t> forced_;
};

}  // namespace lfm::core
