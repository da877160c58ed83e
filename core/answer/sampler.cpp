#include "answer/sampler.h"

#include "base/error.h"

namespace lfm::core {
namespace {

// What the native sampler says where there is no memory for a step.
void require_memory(bool enough) {
  if (!enough) throw Error(LFM_NO_MEMORY, "sampling: there is not enough memory");
}

int32_t count(const std::vector<int32_t>& ids) { return static_cast<int32_t>(ids.size()); }

}  // namespace

Sampler::Sampler(const AnswerOptions& options, int64_t vocab_size)
    : native_(lfm_sampler_create(&options.sampling, static_cast<int32_t>(vocab_size)),
              lfm_sampler_destroy) {
  require_memory(native_ != nullptr);
  require_memory(lfm_sampler_bias(native_.get(), options.biased.data(), options.biases.data(),
                                  count(options.biased)) == 0);
}

void Sampler::observe(const std::vector<int32_t>& ids) {
  require_memory(lfm_sampler_observe(native_.get(), ids.data(), count(ids)) == 0);
}

void Sampler::force(const std::vector<int32_t>& ids) {
  forced_.insert(forced_.end(), ids.begin(), ids.end());
}

int32_t Sampler::sample(float* logits) {
  int32_t token = 0;
  if (!forced_.empty()) {
    token = forced_.front();
    forced_.pop_front();
  } else {
    token = lfm_sampler_choose(native_.get(), logits, nullptr);
  }
  if (token == LFM_SAMPLING_NOT_FINITE) {
    throw Error(LFM_BUNDLE, "the graph gave logits that are not finite numbers; verify the bundle");
  }
  if (token == LFM_SAMPLING_NONE_LEFT) {
    throw Error(LFM_INVALID_REQUEST,
                "no token is left to draw: ban fewer of those that the answer needs");
  }
  require_memory(token >= 0);
  require_memory(lfm_sampler_accept(native_.get(), token) == 0);
  return token;
}

}  // namespace lfm::core
