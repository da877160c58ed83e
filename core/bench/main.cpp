// lfm_bench: `lfm-edge bench` for where there is no Python, such as `adb shell`.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "bench/arguments.h"
#include "bench/device.h"
#include "bench/measure.h"
#include "bench/report.h"

namespace lfm::bench {
namespace {

using core::Json;

constexpr int kBadInput = 2;

// A line that is written over on a terminal, and left out elsewhere.
void progress(const std::string& text) {
  if (isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r\033[K%s", text.c_str());
  std::fflush(stderr);
}

void follow(const Handle& events, const char* what, Json& last) {
  last = drain(events, [&](const Json& event) {
    if (event["type"].string() != "progress") return;
    const double share = event["done"].number() / std::max(1.0, event["total"].number());
    progress(std::string(what) + ": " + std::to_string(static_cast<int>(100 * share)) + " %");
  });
  progress("");
}

Json info_of(const Handle& model) {
  const std::string text = text_of([&](char* buffer, size_t size, size_t* needed) {
    return lfm_model_info(model.get(), buffer, size, needed);
  });
  return Json::parse(text, "lfm_model_info");
}

void require_room(const Arguments& arguments, const Json& info) {
  const int64_t most = info["max_context"].integer();
  if (arguments.capacity() <= most) return;
  throw UsageError("-p " + std::to_string(arguments.prompt_tokens) + " -n " +
                   std::to_string(arguments.generated_tokens) + " -d " +
                   std::to_string(arguments.depth) + " need " +
                   core::grouped(arguments.capacity()) +
                   " tokens of context, but the bundle holds " + core::grouped(most));
}

Handle open_model(const Arguments& arguments, double& seconds) {
  Json::Object options;
  if (arguments.threads > 0) options.emplace_back("threads", arguments.threads);
  const auto start = std::chrono::steady_clock::now();
  Handle model;
  check(lfm_model_open(arguments.bundle.c_str(), Json(options).dump().c_str(), model.out()));
  seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return model;
}

void print_moment(const Moment& moment) {
  std::printf("%7.0f s %8.1f tokens/s", moment.seconds, moment.tokens_per_second);
  if (moment.temperature_celsius) std::printf(" %6.1f °C", *moment.temperature_celsius);
  if (moment.frequency_mhz) std::printf(" %6.0f MHz", *moment.frequency_mhz);
  std::printf("\n");
  std::fflush(stdout);
}

void run(const Arguments& arguments) {
  if (!arguments.cores.empty() && !pin_to(arguments.cores)) {
    throw UsageError("--cores: the system refuses these cores; it has " +
                     std::to_string(usable_cores()));
  }
  if (!arguments.onnxruntime.empty()) {
    check(lfm_use_onnxruntime(arguments.onnxruntime.c_str()));
  } else if (lfm_use_onnxruntime("libonnxruntime.so") != LFM_OK) {
    throw UsageError(std::string(lfm_last_error()) + "; give --onnxruntime FILE");
  }
  Result result;
  if (arguments.verify) {
    Handle hashes;
    Json last;
    check(lfm_bundle_check(arguments.bundle.c_str(), hashes.out()));
    follow(hashes, "hashing", last);
  }
  const Handle model = open_model(arguments, result.load_seconds);
  require_room(arguments, info_of(model));
  if (arguments.verify) {
    Handle proof;
    check(lfm_model_verify(model.get(), proof.out()));
    follow(proof, "golden vectors", result.golden);
    std::printf("golden vectors: passed, largest error %.2e of a tolerance of %.2e\n",
                result.golden["worst"].number(), result.golden["tolerance"].number());
  }
  const int64_t vocab_size = info_of(model)["vocab_size"].integer();
  result.samples = measure(model.get(), vocab_size, arguments, [&](int64_t done) {
    progress("run " + std::to_string(done) + " of " + std::to_string(arguments.repetitions));
  });
  progress("");
  result.info = info_of(model);
  if (arguments.sustained_seconds > 0) {
    result.sustained = sustained(model.get(), vocab_size, arguments, print_moment);
  }
  const Json json = to_json(result, arguments);
  if (!arguments.json.empty()) write_text(arguments.json, json.dump() + "\n");
  std::printf("%s", table(json).c_str());
}

}  // namespace
}  // namespace lfm::bench

int main(int count, char** words) {
  using namespace lfm::bench;
  try {
    const Arguments arguments = parse_arguments(count, words);
    if (arguments.help) {
      std::printf("%s", kHelp);
      return 0;
    }
    run(arguments);
    return 0;
  } catch (const std::exception& error) {
    progress("");
    std::fprintf(stderr, "error: %s\n", error.what());
    return kBadInput;
  }
}
