#include "bench/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "base/file.h"
#include "bench/device.h"

namespace lfm::bench {
namespace {

using core::Json;

Json series(std::vector<double> samples) {
  if (samples.empty()) return Json();
  Json::Array all(samples.begin(), samples.end());
  const double count = static_cast<double>(samples.size());
  const double mean = std::accumulate(samples.begin(), samples.end(), 0.0) / count;
  double squares = 0;
  for (const double sample : samples) squares += (sample - mean) * (sample - mean);
  const double deviation = samples.size() > 1 ? std::sqrt(squares / (count - 1)) : 0;
  std::sort(samples.begin(), samples.end());
  const size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  return Json::Object{
      {"median", median}, {"mean", mean}, {"standard_deviation", deviation}, {"samples", all}};
}

Json optional(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json moments(const std::vector<Moment>& sustained) {
  if (sustained.empty()) return Json();
  Json::Array all;
  for (const Moment& moment : sustained) {
    all.push_back(Json::Object{{"seconds", moment.seconds},
                               {"tokens_per_second", moment.tokens_per_second},
                               {"temperature_celsius", optional(moment.temperature_celsius)},
                               {"frequency_mhz", optional(moment.frequency_mhz)}});
  }
  return all;
}

Json settings(const Arguments& arguments, const Json& info) {
  return Json::Object{{"prompt_tokens", arguments.prompt_tokens},
                      {"generated_tokens", arguments.generated_tokens},
                      {"repetitions", arguments.repetitions},
                      {"depth", arguments.depth},
                      {"threads", info["threads"]},
                      {"compute_units", nullptr}};
}

Json device(const Json& info) {
  return Json::Object{{"cpu", cpu_name()},
                      {"cores", usable_cores()},
                      {"memory_bytes", memory_bytes()},
                      {"os", system_name()},
                      {"onnxruntime", info["onnxruntime"]},
                      {"isa", info["isa"]},
                      {"prefetch_bytes", info["prefetch_bytes"]}};
}

std::string row(const std::string& name, const Json& series, double scale, const char* unit) {
  if (series.is_null()) return "";
  char line[160];
  std::snprintf(line, sizeof line, "%-24s %12.1f %12.1f ± %-8.1f %s\n", name.c_str(),
                series["median"].number() * scale, series["mean"].number() * scale,
                series["standard_deviation"].number() * scale, unit);
  return line;
}

std::string single(const char* name, double value, const char* unit) {
  char line[160];
  std::snprintf(line, sizeof line, "%-24s %12.1f %25s%s\n", name, value, "", unit);
  return line;
}

std::string or_question(const Json& text) { return text.is_string() ? text.string() : "?"; }

}  // namespace

Json to_json(const Result& result, const Arguments& arguments) {
  const Json& info = result.info;
  const Json prefill = series(result.samples.prefill), decode = series(result.samples.decode);
  const Json first_token = series(result.samples.first_token);
  const Memory memory = own_memory();
  return Json::Object{{"bench_format", 1},
                      {"prefill_tokens_per_second", prefill["median"]},
                      {"decode_tokens_per_second", decode["median"]},
                      {"time_to_first_token_seconds", first_token["median"]},
                      {"load_seconds", result.load_seconds},
                      {"peak_rss_bytes", memory.peak_rss_bytes},
                      {"private_bytes", memory.private_bytes},
                      {"prefill", prefill},
                      {"decode", decode},
                      {"time_to_first_token", first_token},
                      {"settings", settings(arguments, info)},
                      {"bundle", Json::Object{{"model", info["model"]},
                                              {"family", info["family"]},
                                              {"target", info["target"]},
                                              {"quantization", info["quantization"]},
                                              {"head", info["head"]},
                                              {"size_bytes", info["size_bytes"]}}},
                      {"device", device(info)},
                      {"sustained", moments(result.sustained)}};
}

std::string table(const Json& result) {
  const Json &bundle = result["bundle"], &settings = result["settings"], &device = result["device"];
  const int64_t depth = settings["depth"].integer();
  const std::string at = depth > 0 ? " @ d" + std::to_string(depth) : "";
  const auto part = [&](const char* name, const char* short_name, const char* count) {
    return std::string(name) + ", " + short_name + std::to_string(settings[count].integer()) + at;
  };
  std::string text = or_question(bundle["model"]) + " " + or_question(bundle["target"]) + " " +
                     or_question(bundle["quantization"]) + " (head " + or_question(bundle["head"]) +
                     ")\n";
  char line[160];
  std::snprintf(line, sizeof line, "%-24s %12s %12s\n", "", "median", "mean ± sd");
  text += line;
  text += row(part("prefill", "pp", "prompt_tokens"), result["prefill"], 1, "tokens/s");
  text += row(part("decode", "tg", "generated_tokens"), result["decode"], 1, "tokens/s");
  text += row("time to first token", result["time_to_first_token"], 1000, "ms");
  text += single("load", result["load_seconds"].number() * 1000, "ms");
  text += single("peak RSS", result["peak_rss_bytes"].number() / 1e6, "MB");
  text += single("private memory", result["private_bytes"].number() / 1e6, "MB");
  text += or_question(device["cpu"]) + ", " + std::to_string(settings["threads"].integer()) +
          " threads, ONNX Runtime " + or_question(device["onnxruntime"]);
  if (device["isa"].is_string()) {
    text += ", " + device["isa"].string() + ", prefetch " +
            std::to_string(device["prefetch_bytes"].integer()) + " bytes";
  }
  return text + "\n";
}

void write_text(const std::string& path, const std::string& text) {
  try {
    core::NewFile file(path);
    file.write(text.data(), text.size());
    file.finish();
  } catch (const std::runtime_error& error) {
    throw CoreError(LFM_INVALID_REQUEST, path + ": " + error.what());
  }
}

}  // namespace lfm::bench
