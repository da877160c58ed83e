#include "answer/model.h"

#include "answer/fields.h"
#include "base/error.h"
#include "engine/ort.h"
#include "engine/threads.h"

namespace lfm::core {
namespace {

constexpr const char* kDeviceFile = "device.bin";
constexpr const char* kTokenizerSection = "tokenizer";
constexpr const char* kChatSection = "chat";
constexpr const char* kSourcesSection = "sources";
constexpr const char* kChatTemplate = "chat_template.jinja";

std::shared_ptr<const Runtime> open_runtime(const std::string& folder, const Json& options) {
  require_fields(options, "options", {"threads"});
  const Json& threads = options["threads"];
  const auto bundle = std::make_shared<Bundle>(folder);
  if (threads.is_null()) return std::make_shared<Runtime>(bundle);
  if (!threads.is_integer() || threads.integer() < 1 || threads.integer() > kMostThreads) {
    throw out_of_range("threads", threads, "1 to " + std::to_string(kMostThreads));
  }
  return std::make_shared<Runtime>(bundle, static_cast<int>(threads.integer()));
}

bool is_source(const std::string& name) {
  constexpr std::string_view kTemplates = "additional_chat_templates/";
  for (const char* source :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", kChatTemplate}) {
    if (name == source) return true;
  }
  return name.compare(0, kTemplates.size(), kTemplates) == 0;
}

// The device's file, which must have been made of the very files that the bundle has.
std::unique_ptr<DeviceFile> open_device_file(const Bundle& bundle) {
  const std::string path = bundle.path(kDeviceFile);
  auto device = std::make_unique<DeviceFile>(path);
  const Json sources = device->has(kSourcesSection)
                           ? Json::parse(device->section(kSourcesSection), path)
                           : Json(Json::Object());
  const auto refuse = [&](const std::string& name) {
    throw Error(LFM_BUNDLE, path + ": was made of another " + name + "; export the model anew");
  };
  for (const auto& [name, entry] : bundle.manifest().files) {
    if (is_source(name) && sources[name] != Json(entry.sha256)) refuse(name);
  }
  for (const Json::Member& source : sources.object()) {
    if (!bundle.has(source.first)) refuse(source.first);
  }
  return device;
}

std::string no_text(const Bundle& bundle) {
  if (!bundle.has("tokenizer.json")) {
    return bundle.folder() +
           ": no tokenizer.json, so this bundle reads no text; use a session and ids";
  }
  return bundle.folder() + ": no tokenizer in " + kDeviceFile +
         ", so this bundle reads no text here; use a session and ids, or export it anew";
}

std::string no_chat(const Bundle& bundle) {
  if (bundle.has(kChatTemplate)) {
    return bundle.folder() + ": " + kChatTemplate +
           " has no form that a device renders, so this model takes no chat here; use generate";
  }
  return bundle.folder() + ": no " + kChatTemplate +
         " and none in tokenizer_config.json, so this model takes no chat; use generate";
}

template <typename Open>
std::string problem_of(const Open& open) {
  try {
    open();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json as_json(const SamplingOptions& sampling) {
  return Json::Object{{"temperature", sampling.temperature},
                      {"top_k", sampling.top_k},
                      {"top_p", sampling.top_p},
                      {"min_p", sampling.min_p},
                      {"repetition_penalty", sampling.repetition_penalty}};
}

}  // namespace

std::string chat_problem(const Bundle& bundle) {
  return problem_of([&] {
    if (!bundle.has(kDeviceFile)) throw Error(LFM_BUNDLE, no_text(bundle));
    const std::unique_ptr<DeviceFile> device = open_device_file(bundle);
    if (!device->has(kTokenizerSection)) throw Error(LFM_BUNDLE, no_text(bundle));
    if (!device->has(kChatSection)) throw Error(LFM_TEMPLATE, no_chat(bundle));
  });
}

Model::Model(const std::string& folder, const Json& options)
    : runtime_(open_runtime(folder, options)), defaults_(read_generation_config(bundle())) {}

const DeviceFile& Model::device_file() {
  if (!device_) device_ = open_device_file(bundle());
  return *device_;
}

const Tokenizer& Model::tokenizer() {
  const std::lock_guard<std::mutex> lock(opening_);
  if (tokenizer_) return *tokenizer_;
  if (!bundle().has(kDeviceFile) || !device_file().has(kTokenizerSection)) {
    throw Error(LFM_BUNDLE, no_text(bundle()));
  }
  tokenizer_ = std::make_unique<Tokenizer>(device_file().section(kTokenizerSection));
  return *tokenizer_;
}

const ChatFormat& Model::chat() {
  tokenizer();
  const std::lock_guard<std::mutex> lock(opening_);
  if (chat_) return *chat_;
  if (!device_file().has(kChatSection)) throw Error(LFM_TEMPLATE, no_chat(bundle()));
  const Json section = Json::parse(device_file().section(kChatSection), bundle().path(kDeviceFile));
  chat_ = std::make_unique<ChatFormat>(section);
  return *chat_;
}

std::string Model::text_problem() {
  return problem_of([&] { tokenizer(); });
}

std::string Model::chat_problem() {
  return problem_of([&] { chat(); });
}

Json Model::info() {
  const Manifest& manifest = bundle().manifest();
  const bool ours = manifest.graph.target == "onnx";
  Json::Array ends;
  for (const int32_t end : defaults_.eos_token_ids) ends.emplace_back(static_cast<int64_t>(end));
  return Json::Object{{"folder", bundle().folder()},
                      {"digest", bundle().digest()},
                      {"model", manifest.model.name},
                      {"family", manifest.model.family},
                      {"target", manifest.graph.target},
                      {"quantization", manifest.quantization.method},
                      {"head", manifest.quantization.head},
                      {"size_bytes", bundle().size()},
                      {"vocab_size", vocab_size()},
                      {"max_context", manifest.model.max_context},
                      {"default_context", capacity_for(bundle(), 0)},
                      {"threads", runtime_->threads()},
                      {"isa", ours ? Json(operators_isa()) : Json()},
                      {"prefetch_bytes", ours ? Json(operators_prefetch_bytes()) : Json()},
                      {"onnxruntime", onnxruntime().version},
                      {"eos_token_ids", Json(std::move(ends))},
                      {"sampling", as_json(defaults_.sampling)},
                      {"text", text_or_null(text_problem())},
                      {"chat", text_or_null(chat_problem())}};
}

}  // namespace lfm::core
