// Reads what a hostile model or a careless caller may write: fuzz_answers VECTORS [seconds] [seed].
// However an answer is cut into tokens, its events are the same, and nothing of its text is lost;
// requests are read or refused. Build with LFM_OPS_SANITIZE=address,undefined.
#include <chrono>
#include <cstdlib>

#include "answer/options.h"
#include "answer/prompt.h"
#include "base/utf8.h"
#include "chat/tool_calls.h"
#include "chat/tools.h"
#include "random.h"
#include "vectors.h"

namespace lfm::core {
namespace {

const char* const kPieces[] = {"<think>",
                               "</think>",
                               "<|tool_call_start|>",
                               "<|tool_call_end|>",
                               "<tool_call>",
                               "</tool_call>",
                               "<function=f>",
                               "</function>",
                               "<parameter=a>",
                               "</parameter>",
                               "<|tool",
                               "[",
                               "]",
                               "(",
                               ")",
                               "{",
                               "}",
                               "'",
                               "\"",
                               ",",
                               ":",
                               "=",
                               "\\",
                               "\n",
                               " ",
                               "```json\n",
                               "[f(a='x')]",
                               "'), g(b='",
                               "{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
                               "**{'a': 1}",
                               "1__0",
                               "0xfffffffffffffffffff",
                               "1e999",
                               "\\ud83d",
                               "\\U00110000",
                               "\u2003",
                               "\u00e9",
                               "\U0001F600",
                               "f'{x}'",
                               "null",
                               "-1",
                               "true",
                               "\"seed\": 18446744073709551615",
                               "1e400",
                               "[[[[[[[[",
                               "\"stop\": [\"\"]"};

const char* const kRequests[] = {
    R"({"temperature": 0.5, "top_k": 3, "logit_bias": {"5": 1.5}, "banned": [7], "seed": 1})",
    R"({"max_tokens": 5, "stop": ["a", "b"], "thinking_budget": 3, "min_p": 0.1, "top_p": 1})",
    R"([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}])",
    R"([{"name": "f", "parameters": {"additionalProperties": false, "type": "object"}}])"};

const char* piece(Random& random) { return kPieces[random.below(std::size(kPieces))]; }

// Changes a text where characters begin.
void spoil(Random& random, std::string& text) {
  const auto place = [&] {
    size_t at = random.below(text.size() + 1);
    while (at < text.size() && (text[at] & 0xC0) == 0x80) ++at;
    return at;
  };
  for (size_t times = random.below(5); times > 0; --times) {
    const size_t one = place(), other = place(), at = std::min(one, other);
    const size_t count = std::max(one, other) - at;
    if (random.one_in(3)) {
      text.erase(at, count);
    } else if (random.one_in(4)) {
      text.insert(at, text.substr(at, count));
    } else {
      text.insert(at, piece(random));
    }
  }
}

struct Sample {
  std::string text;
  Json tools;
};

std::vector<Sample> read_samples(const std::string& folder) {
  std::vector<Sample> samples;
  const Json cases = read_vectors(folder, "tool_calls.json");
  for (const Json& given : cases.array())
    samples.push_back({given["text"].string(), given["tools"]});
  return samples;
}

Json events_of(const Markers& markers, const ToolNames& tools, const std::string& text,
               Random* random) {
  EventSplitter splitter(markers, tools, false);
  std::vector<Event> events;
  const auto add = [&](std::vector<Event> more) {
    for (Event& event : more) events.push_back(std::move(event));
  };
  for (size_t at = 0; at < text.size();) {
    size_t end = random ? at + 1 + random->below(12) : text.size();
    while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
    add(splitter.push(-1, text.substr(at, end - at)));
    at = std::min(end, text.size());
  }
  add(splitter.finish());
  return as_vectors(events);
}

void read_answer(Random& random, const std::vector<Sample>& samples) {
  const Sample& sample = samples[random.below(samples.size())];
  std::string text = sample.text;
  if (random.one_in(4)) text += samples[random.below(samples.size())].text;
  spoil(random, text);
  const ToolNames tools = random.one_in(2) ? tool_names(sample.tools) : ToolNames();
  parse_tool_calls(text, tools);
  const Json whole = events_of(Markers::none(), tools, text, nullptr);
  const Json cut = events_of(Markers::none(), tools, text, &random);
  if (whole != cut) {
    fail(__FILE__, __LINE__, text + "\ngives\n" + whole.dump() + "\nand cut\n" + cut.dump());
  }
}

void read_request(Random& random) {
  std::string text = kRequests[random.below(std::size(kRequests))];
  spoil(random, text);
  if (random.one_in(8)) text += static_cast<char>(random.below(256));
  GenerationDefaults defaults;
  defaults.eos_token_ids = {7};
  const auto read = [&](const auto& work) {
    error_of([&] { work(Json::parse(text, "request")); });
  };
  read([&](const Json& json) { read_options(json, OptionSet::kAnswer, defaults, 100); });
  read([&](const Json& json) { tool_names(json); });
  read([&](const Json& json) { require_clock(json["clock"].is_null() ? json : json["clock"]); });
}

int run(const std::string& folder, int seconds, uint64_t seed) {
  const std::vector<Sample> samples = read_samples(folder);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end && failures() == 0; ++runs) {
    Random random(seed + runs);
    read_answer(random, samples);
    read_request(random);
  }
  std::printf("%s: %llu answers and requests from seed %llu\n", failures() ? "failed" : "ok",
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(seed));
  return failures();
}

}  // namespace
}  // namespace lfm::core

int main(int count, char** arguments) {
  if (count < 2) return 2;
  const int seconds = count > 2 ? std::atoi(arguments[2]) : 3;
  const uint64_t seed = count > 3 ? std::strtoull(arguments[3], nullptr, 10) : 1;
  return lfm::core::run(arguments[1], seconds, seed);
}
