#include "answer/options.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>

#include "answer/fields.h"
#include "chat/characters.h"

namespace lfm::core {
namespace {

constexpr const char* kSampling[] = {
    "temperature",      "top_k",      "top_p",  "min_p", "repetition_penalty", "frequency_penalty",
    "presence_penalty", "logit_bias", "banned", "seed"};
constexpr const char* kForms[] = {"schema", "regex", "choices", "grammar"};

template <size_t count>
bool is_one_of(const char* const (&names)[count], const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// A number of this range, or the default where none is given.
double number_in(const Json& options, const char* name, double otherwise, double low, double high,
                 const char* expected) {
  const Json& value = options[name];
  if (value.is_null()) return otherwise;
  const double number = value.is_number() ? value.number() : -1e308;
  if (!(number >= low && number <= high)) throw out_of_range(name, value, expected);
  return number;
}

// A whole number that is not negative; beyond 64 bits the largest.
int64_t count_of(const Json& value, const char* name, const char* expected) {
  if (!is_whole(value) || !(value.number() >= 0)) throw out_of_range(name, value, expected);
  return value.is_integer() ? value.integer() : std::numeric_limits<int64_t>::max();
}

uint64_t fresh_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

uint64_t seed_of(const Json& value) {
  if (value.is_null()) return fresh_seed();
  if (value.is_integer() && value.integer() >= 0) return static_cast<uint64_t>(value.integer());
  if (is_whole(value) && value.is_number() && !value.is_integer()) {
    const std::string& digits = value.number_text();
    errno = 0;
    const unsigned long long seed = std::strtoull(digits.c_str(), nullptr, 10);
    if (digits[0] != '-' && errno == 0) return seed;
  }
  throw out_of_range("seed", value, "an integer from 0 to 2^64 - 1");
}

// The id that a JSON object's key names.
int64_t id_of_key(const std::string& key) {
  const bool digits = !key.empty() && key.find_first_not_of("0123456789") == std::string::npos;
  if (digits) return std::strtoll(key.c_str(), nullptr, 10);
  const bool negative = key.size() > 1 && key[0] == '-' &&
                        key.find_first_not_of("0123456789", 1) == std::string::npos;
  const std::string shown = negative ? key : python_repr(Json(key));
  throw invalid_request("logit_bias: got " + shown + ", expected token ids of 0 or more");
}

std::map<int64_t, float> biases_of(const Json& options) {
  std::map<int64_t, float> biases;
  const Json& given = options["logit_bias"];
  if (!given.is_null() && !given.is_object()) throw out_of_range("logit_bias", given, "a mapping");
  for (const auto& [key, bias] : given.object()) {
    const int64_t id = id_of_key(key);
    if (!bias.is_number() || !(bias.number() >= -100 && bias.number() <= 100)) {
      throw out_of_range("logit_bias", bias, "numbers from -100 to 100");
    }
    biases[id] = static_cast<float>(bias.number());
  }
  return biases;
}

std::vector<int64_t> banned_of(const Json& options) {
  std::vector<int64_t> banned;
  const Json& given = options["banned"];
  if (!given.is_null() && !given.is_array()) throw out_of_range("banned", given, "token ids");
  for (const Json& id : given.array()) {
    banned.push_back(count_of(id, "banned", "token ids of 0 or more"));
  }
  return banned;
}

SamplingOptions sampling_of(const Json& given, const SamplingOptions& defaults) {
  SamplingOptions sampling = defaults;
  const auto read = [&](const char* name, double& value, double low, double high,
                        const char* expected) {
    value = number_in(given, name, value, low, high, expected);
  };
  read("temperature", sampling.temperature, 0, 1e6, "a number from 0 to 1e6");
  if (const Json& top_k = given["top_k"]; !top_k.is_null()) {
    sampling.top_k = count_of(top_k, "top_k", "an integer of 0 (off) or more");
  }
  read("top_p", sampling.top_p, 5e-324, 1, "a number above 0 and up to 1");
  read("min_p", sampling.min_p, 0, 1, "a number from 0 to 1");
  read("repetition_penalty", sampling.repetition_penalty, 1e-6, 1e6,
       "a number above 0, from 1e-6 to 1e6");
  read("frequency_penalty", sampling.frequency_penalty, -2, 2, "a number from -2 to 2");
  read("presence_penalty", sampling.presence_penalty, -2, 2, "a number from -2 to 2");
  return sampling;
}

void require_known(const char* name, int64_t id, int64_t vocab_size) {
  if (id < vocab_size) return;
  throw Error(LFM_UNKNOWN_TOKEN, std::string(name) + ": token " + std::to_string(id) +
                                     " is not one of the model's " + grouped(vocab_size));
}

// Takes the biases, and bans as those of minus infinity.
void take_biases(std::map<int64_t, float> biases, const std::vector<int64_t>& banned,
                 int64_t vocab_size, AnswerOptions& options) {
  for (const int64_t id : banned) {
    require_known("banned", id, vocab_size);
    biases[id] = -std::numeric_limits<float>::infinity();
  }
  for (const auto& [id, bias] : biases) {
    require_known("logit_bias", id, vocab_size);
    options.biased.push_back(static_cast<int32_t>(id));
    options.biases.push_back(bias);
  }
}

std::vector<std::string> stops_of(const Json& given) {
  std::vector<std::string> stops;
  if (given.is_null()) return stops;
  const Json::Array single(1, given);
  const auto refuse = [&] { return out_of_range("stop", given, "strings that are not empty"); };
  if (!given.is_string() && !given.is_array()) throw refuse();
  for (const Json& stop : given.is_string() ? single : given.array()) {
    if (!stop.is_string() || stop.string().empty()) throw refuse();
    stops.push_back(stop.string());
  }
  return stops;
}

void refuse_unknown(const Json& options, OptionSet set) {
  for (const auto& [name, value] : options.object()) {
    const bool known = is_one_of(kSampling, name) || name == "max_tokens" || name == "stop" ||
                       (name == "thinking_budget" && set == OptionSet::kAnswer);
    if (known || value.is_null()) continue;
    if (is_one_of(kForms, name)) {
      throw invalid_request(name +
                            ": an answer of a given form cannot be had on a device; leave it out");
    }
    if (name == "logprobs") {
      throw invalid_request("logprobs: cannot be had on a device; leave it out");
    }
    if (name == "speculation") {
      const bool none = value == Json("auto") || (value.is_bool() && !value.boolean());
      if (none) continue;
      throw invalid_request("speculation: cannot be had on a device; leave it out");
    }
    if (name == "context") {
      throw invalid_request("context: a session was given, which has its own");
    }
    throw invalid_request("unknown option " + python_repr(Json(name)));
  }
}

}  // namespace

AnswerOptions read_options(const Json& given, OptionSet set, const GenerationDefaults& defaults,
                           int64_t vocab_size) {
  if (!given.is_null() && !given.is_object()) {
    throw invalid_request("options: expected a JSON object");
  }
  refuse_unknown(given, set);
  AnswerOptions options;
  const SamplingOptions sampling = sampling_of(given, defaults.sampling);
  std::map<int64_t, float> biases = biases_of(given);
  const std::vector<int64_t> banned = banned_of(given);
  options.sampling = native_options(sampling, seed_of(given["seed"]));
  take_biases(std::move(biases), banned, vocab_size, options);
  options.stops = stops_of(given["stop"]);
  if (const Json& most = given["max_tokens"]; !most.is_null()) {
    options.max_tokens = require_whole(most, "max_tokens", 1);
  }
  options.thinking_budget = given["thinking_budget"];
  return options;
}

}  // namespace lfm::core
