// From messages to a prompt, by the chat format that the exporter found for a checkpoint's
// template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace lfm::core {

// A prompt, and which bytes of it users and tools wrote: in order, apart from one another. Only
// what begins elsewhere may be a marker.
struct Rendered {
  std::string text;
  std::vector<Range> theirs;
};

struct ChatFormatData;

// What docs/chat_format.md describes, read and checked; it may be used by several threads.
class ChatFormat {
 public:
  // The section "chat" of a device.bin. LFM_BUNDLE where it is damaged.
  explicit ChatFormat(const Json& section);

  // The prompt that the checkpoint's template makes of these. `messages` and `tools` (null: none)
  // are those of Python's Model.chat, `template_options` its dictionary or null, `clock` the time
  // that a template tells, YYYY-MM-DDTHH:MM:SS. LFM_TEMPLATE with Python's message where the
  // template raises, LFM_INVALID_REQUEST where the messages are malformed, or are such as this
  // format has no way to write.
  Rendered render(const Json& messages, const Json& tools, const Json& template_options,
                  const std::string& clock, bool add_generation_prompt = true) const;

 private:
  std::shared_ptr<const ChatFormatData> data_;
};

}  // namespace lfm::core
