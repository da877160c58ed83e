#include "engine/generation_config.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "bundle/json_field.h"

namespace lfm::core {
namespace {

constexpr const char* kGenerationConfig = "generation_config.json";
constexpr int64_t kDefaultTopK = 50;

// The fields of transformers' file that concern us; absent or null is transformers' default.
struct Config {
  bool do_sample = false;
  double temperature = 1, top_p = 1, min_p = 0, repetition_penalty = 1;
  int64_t top_k = kDefaultTopK;
  std::vector<int64_t> eos_token_ids;
};

int64_t any_whole(const JsonField& field) {
  return field.integer(std::numeric_limits<int64_t>::min());
}

JsonField::Member number_member(const char* name, double& place) {
  return {name,
          [&place](const JsonField& field) { place = field.optional_number().value_or(place); },
          false};
}

void read_ends(const JsonField& field, std::vector<int64_t>& ends) {
  if (field.is_null()) return;
  if (field.value().is_array()) {
    ends = field.list<int64_t>(any_whole);
  } else if (field.value().is_integer()) {
    ends = {field.value().integer()};
  } else {
    field.expected("`int | array | null`");
  }
}

Config config_of(const std::string& path, const std::string& text) {
  Config config;
  const Json json = Json::parse(text, path);
  JsonField(json, path)
      .object({{"do_sample",
                [&](const JsonField& field) {
                  config.do_sample = field.optional_boolean().value_or(false);
                },
                false},
               number_member("temperature", config.temperature),
               {"top_k",
                [&](const JsonField& field) {
                  config.top_k = field.optional_integer(std::numeric_limits<int64_t>::min())
                                     .value_or(kDefaultTopK);
                },
                false},
               number_member("top_p", config.top_p),
               number_member("min_p", config.min_p),
               number_member("repetition_penalty", config.repetition_penalty),
               {"eos_token_id",
                [&](const JsonField& field) { read_ends(field, config.eos_token_ids); }, false},
               {"pad_token_id",
                [](const JsonField& field) {
                  field.optional_integer(std::numeric_limits<int64_t>::min());
                },
                false}});
  return config;
}

// A temperature without `do_sample` samples nothing. `top_k` -1 is off, as 0 is; `top_p` is off
// above 1, and 0 leaves the likeliest token alone.
SamplingOptions sampling_of(const Config& config) {
  SamplingOptions options;
  options.temperature = config.temperature;
  options.top_k = config.top_k == -1 ? 0 : config.top_k;
  options.top_p = std::min(config.top_p == 0 ? 1.0 : config.top_p, 1.0);
  options.min_p = config.min_p;
  options.repetition_penalty = config.repetition_penalty;
  check_sampling(options);
  if (!config.do_sample || config.top_p == 0) options.temperature = 0;
  return options;
}

}  // namespace

GenerationDefaults read_generation_config(const Bundle& bundle) {
  const ModelNumbers& model = bundle.manifest().model;
  std::set<int64_t> ends(model.eos_token_ids.begin(), model.eos_token_ids.end());
  GenerationDefaults defaults;
  defaults.sampling.top_k = kDefaultTopK;
  if (const auto text = bundle.read_text(kGenerationConfig)) {
    const std::string path = bundle.path(kGenerationConfig);
    Config config;
    try {
      config = config_of(path, *text);
    } catch (const Error& error) {
      throw Error(LFM_BUNDLE, error.what());
    }
    try {
      defaults.sampling = sampling_of(config);
    } catch (const Error& error) {
      throw Error(LFM_BUNDLE, path + ": " + error.what());
    }
    ends.insert(config.eos_token_ids.begin(), config.eos_token_ids.end());
  }
  const int64_t most = std::min<int64_t>(model.vocab_size, std::numeric_limits<int32_t>::max());
  for (const int64_t end : ends) {
    if (end >= 0 && end < most) defaults.eos_token_ids.push_back(static_cast<int32_t>(end));
  }
  return defaults;
}

}  // namespace lfm::core
