#include "engine/sampling_options.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/json.h"

namespace lfm::core {
namespace {

void check(const char* name, double value, double low, double high, const char* expected) {
  if (low <= value && value <= high) return;  // NaN fails both
  throw Error(LFM_INVALID_REQUEST,
              std::string(name) + ": got " + python_repr(value) + ", expected " + expected);
}

}  // namespace

void check_sampling(const SamplingOptions& options) {
  constexpr double kSmallest = std::numeric_limits<double>::denorm_min();
  check("temperature", options.temperature, 0, 1e6, "a number from 0 to 1e6");
  if (options.top_k < 0) {
    throw Error(LFM_INVALID_REQUEST, "top_k: got " + std::to_string(options.top_k) +
                                         ", expected an integer of 0 (off) or more");
  }
  check("top_p", options.top_p, kSmallest, 1, "a number above 0 and up to 1");
  check("min_p", options.min_p, 0, 1, "a number from 0 to 1");
  check("repetition_penalty", options.repetition_penalty, 1e-6, 1e6,
        "a number above 0, from 1e-6 to 1e6");
  check("frequency_penalty", options.frequency_penalty, -2, 2, "a number from -2 to 2");
  check("presence_penalty", options.presence_penalty, -2, 2, "a number from -2 to 2");
}

LfmSamplingOptions native_options(const SamplingOptions& options, uint64_t seed) {
  constexpr int64_t kLargestTopK = std::numeric_limits<int32_t>::max();
  LfmSamplingOptions native;
  native.seed = seed;
  native.temperature = options.temperature;
  native.top_p = options.top_p;
  native.min_p = options.min_p;
  native.repetition_penalty = static_cast<float>(options.repetition_penalty);
  native.frequency_penalty = static_cast<float>(options.frequency_penalty);
  native.presence_penalty = static_cast<float>(options.presence_penalty);
  native.top_k = static_cast<int32_t>(std::min(options.top_k, kLargestTopK));
  return native;
}

}  // namespace lfm::core
