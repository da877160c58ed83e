// Does with a bundle what a script says, for tests that compare with Python:
//
//     drive_engine LIBONNXRUNTIME < script > results
//
// Each line of the script is a JSON object whose first member names the step; each line of the
// results is what it gave, or {"status", "error"}. An error before a model is loaded ends the
// script.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/sha256.h"
#include "bundle/bundle.h"
#include "engine/generation_config.h"
#include "engine/golden.h"
#include "engine/memory_plan.h"
#include "engine/session.h"

namespace lfm::core {
namespace {

std::vector<int32_t> ids_of(const Json& list) {
  std::vector<int32_t> ids;
  for (const Json& id : list.array()) ids.push_back(static_cast<int32_t>(id.integer()));
  return ids;
}

Json list_of(const std::vector<int32_t>& ids) {
  Json::Array list;
  for (const int32_t id : ids) list.emplace_back(int64_t{id});
  return list;
}

class Driver {
 public:
  Json run(const Json& step) {
    const auto& [name, value] = step.object().at(0);
    const auto known = steps_.find(name);
    if (known == steps_.end()) throw std::runtime_error("script: no step " + name);
    return (this->*known->second)(value, step);
  }

  bool is_loaded() const { return runtime_ != nullptr; }

 private:
  using Step = Json (Driver::*)(const Json& value, const Json& step);

  Json open(const Json& folder, const Json&) {
    bundle_ = std::make_shared<const Bundle>(folder.string());
    return Json::Object{{"digest", bundle_->digest()}};
  }

  Json load(const Json& threads, const Json&) {
    runtime_ = std::make_shared<const Runtime>(bundle_, static_cast<int>(threads.integer()));
    return Json::Object{{"threads", runtime_->threads()}};
  }

  Json defaults(const Json&, const Json&) {
    const GenerationDefaults found = read_generation_config(*bundle_);
    const SamplingOptions& options = found.sampling;
    return Json::Object{{"eos", list_of(found.eos_token_ids)},
                        {"temperature", options.temperature},
                        {"top_k", options.top_k},
                        {"top_p", options.top_p},
                        {"min_p", options.min_p},
                        {"repetition_penalty", options.repetition_penalty}};
  }

  Json plan(const Json& context, const Json&) {
    const MemoryPlan plan = plan_memory(*bundle_, context.integer());
    return Json::Object{{"context", plan.context}, {"max_context", plan.max_context},
                        {"weights", plan.weights}, {"state", plan.state},
                        {"scratch", plan.scratch}, {"bytes_per_token", plan.bytes_per_token},
                        {"total", plan.total()}};
  }

  Json hash(const Json&, const Json&) {
    HashCheck check(bundle_);
    Progress last;
    while (const auto progress = check.next()) last = *progress;
    return Json::Object{{"done", last.done}, {"total", last.total}};
  }

  Json verify(const Json&, const Json&) {
    GoldenCheck check(runtime_);
    Json::Array stages;
    while (const auto progress = check.next()) {
      if (progress->done == progress->total) stages.emplace_back(progress->what);
    }
    return Json::Object{{"stages", stages},
                        {"decode", check.decode().error()},
                        {"decode_worst", check.decode().worst()},
                        {"decode_outliers", check.decode().outliers()},
                        {"prefill", check.prefill().error()},
                        {"prefill_worst", check.prefill().worst()},
                        {"prefill_outliers", check.prefill().outliers()}};
  }

  Json session(const Json& context, const Json&) {
    session_ = std::make_unique<Session>(runtime_, capacity_for(*bundle_, context.integer()));
    return state();
  }

  Json read(const Json& list, const Json&) { return read_ids(ids_of(list)); }

  Json resume(const Json& list, const Json&) { return read_ids(session_->resume(ids_of(list))); }

  Json rewind(const Json& position, const Json&) {
    session_->rewind(position.integer());
    return state();
  }

  Json snapshot(const Json&, const Json&) {
    snapshots_.push_back(session_->snapshot());
    return state();
  }

  Json restore(const Json& number, const Json&) {
    session_->restore(snapshots_.at(static_cast<size_t>(number.integer())));
    return state();
  }

  Json fork(const Json&, const Json&) {
    session_ = session_->fork();
    return state();
  }

  Json save(const Json& path, const Json& step) {
    session_->save(path.string(), step["attached"].string());
    return state();
  }

  Json saved(const Json& path, const Json& step) {
    OpenedSession opened = Session::open(runtime_, path.string(), step["context"].integer());
    session_ = std::move(opened.session);
    Json found = state();
    found.set("attached", opened.attached);
    return found;
  }

  // The likeliest token, over and over, behind the last one read.
  Json greedy(const Json& count, const Json&) {
    std::vector<int32_t> ids;
    const float* logits = logits_;
    for (int64_t i = 0; i < count.integer(); ++i) {
      const float* const best = std::max_element(logits, logits + runtime_->vocab_size());
      ids.push_back(static_cast<int32_t>(best - logits));
      logits = session_->decode(ids.back());
    }
    return Json::Object{{"ids", list_of(ids)}};
  }

  Json read_ids(const std::vector<int32_t>& ids) {
    const auto run = session_->to_replay() + static_cast<int64_t>(ids.size());
    logits_ = session_->prefill(ids);
    Json found = state();
    found.set("run", run);
    found.set("top", top());
    const auto size = static_cast<size_t>(runtime_->vocab_size()) * sizeof(float);
    found.set("logits", sha256_hex({reinterpret_cast<const char*>(logits_), size}));
    return found;
  }

  Json top() const {
    std::vector<int32_t> order(static_cast<size_t>(runtime_->vocab_size()));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return logits_[a] > logits_[b]; });
    Json::Array top;
    for (size_t i = 0; i < 4; ++i) {
      top.emplace_back(Json::Array{int64_t{order[i]}, static_cast<double>(logits_[order[i]])});
    }
    return top;
  }

  Json state() const {
    return Json::Object{{"position", session_->position()},
                        {"capacity", session_->capacity()},
                        {"to_replay", session_->to_replay()},
                        {"ids", list_of(session_->ids())}};
  }

  const std::map<std::string, Step> steps_{
      {"open", &Driver::open},         {"load", &Driver::load},
      {"defaults", &Driver::defaults}, {"plan", &Driver::plan},
      {"hash", &Driver::hash},         {"verify", &Driver::verify},
      {"session", &Driver::session},   {"read", &Driver::read},
      {"resume", &Driver::resume},     {"rewind", &Driver::rewind},
      {"snapshot", &Driver::snapshot}, {"restore", &Driver::restore},
      {"fork", &Driver::fork},         {"save", &Driver::save},
      {"saved", &Driver::saved},       {"greedy", &Driver::greedy}};

  std::shared_ptr<const Bundle> bundle_;
  std::shared_ptr<const Runtime> runtime_;
  std::unique_ptr<Session> session_;
  std::vector<Snapshot> snapshots_;
  const float* logits_ = nullptr;
};

int main_of(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: drive_engine LIBONNXRUNTIME < script > results\n");
    return 2;
  }
  Driver driver;
  try {
    use_onnxruntime(argv[1]);
    bool ended = false;
    for (std::string line; !ended && std::getline(std::cin, line);) {
      Json found;
      try {
        found = driver.run(Json::parse(line, "script"));
      } catch (const Error& error) {
        found = Json::Object{{"status", int64_t{error.status()}}, {"error", error.what()}};
        ended = !driver.is_loaded();
      }
      std::printf("%s\n", found.dump().c_str());
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "drive_engine: %s\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace lfm::core

int main(int argc, char** argv) { return lfm::core::main_of(argc, argv); }
