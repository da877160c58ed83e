// The model of a bundle: what runs it, and what reads and writes its text.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "bundle/bundle.h"
#include "bundle/device_file.h"
#include "chat/format.h"
#include "engine/generation_config.h"
#include "engine/runtime.h"
#include "text/tokenizer.h"

namespace lfm::core {

// What a bundle lacks to take chats, in one line; "" where it lacks nothing.
std::string chat_problem(const Bundle& bundle);

// Safe to share between threads. Tokenizer and chat format are opened when they are first asked
// for.
class Model {
 public:
  // `options`: {"threads": N}, or null.
  Model(const std::string& folder, const Json& options);

  const Bundle& bundle() const { return runtime_->bundle(); }
  const std::shared_ptr<const Runtime>& runtime() const { return runtime_; }
  int64_t vocab_size() const { return runtime_->vocab_size(); }
  const GenerationDefaults& defaults() const { return defaults_; }

  const Tokenizer& tokenizer();  // LFM_BUNDLE: the bundle reads no text
  const ChatFormat& chat();      // LFM_TEMPLATE: it takes no chat

  // Why there is no such thing, or "".
  std::string text_problem();
  std::string chat_problem();

  // As model_info gives it.
  Json info();

 private:
  const DeviceFile& device_file();

  std::shared_ptr<const Runtime> runtime_;
  GenerationDefaults defaults_;
  std::mutex opening_;
  std::unique_ptr<DeviceFile> device_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ChatFormat> chat_;
};

}  // namespace lfm::core
