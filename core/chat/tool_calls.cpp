#include "chat/tool_calls.h"

#include <algorithm>

#include "chat/call_block.h"
#include "chat/events.h"

namespace lfm::core {
namespace {

std::vector<Event> split(std::string_view text, const ToolNames& tools, bool in_reasoning) {
  EventSplitter splitter(Markers::none(), tools, in_reasoning);
  std::vector<Event> events = splitter.push(-1, text);
  for (Event& event : splitter.finish()) events.push_back(std::move(event));
  return events;
}

std::string text_of(const std::vector<Event>& events) {
  std::string text;
  for (const Event& event : events) {
    if (const Text* piece = std::get_if<Text>(&event)) text += piece->text;
  }
  return text;
}

template <typename Kind>
bool has(const std::vector<Event>& events) {
  return std::any_of(events.begin(), events.end(),
                     [](const Event& event) { return std::holds_alternative<Kind>(event); });
}

}  // namespace

std::vector<ToolCall> parse_tool_calls(std::string_view text, const ToolNames& tools) {
  std::vector<Event> events = split(text, tools, false);
  if (!has<Reasoning>(events) && text_of(events).find(kThinkEnd) != std::string::npos) {
    events = split(text, tools, true);
  }
  if (!has<ToolCall>(events) && !has<InvalidToolCall>(events)) {
    return parse_unmarked(text_of(events), tools).calls;
  }
  std::vector<ToolCall> calls;
  for (Event& event : events) {
    if (ToolCall* call = std::get_if<ToolCall>(&event)) calls.push_back(std::move(*call));
  }
  return calls;
}

}  // namespace lfm::core
