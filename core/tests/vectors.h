// The shared vectors (tests/vectors/README.md), and the values of an answer as they write them.
#pragma once

#include <string>

#include "base/file.h"
#include "base/json.h"
#include "chat/events.h"
#include "check.h"

namespace lfm::core {

inline Json read_vectors(const std::string& folder, const std::string& name) {
  return Json::parse(read_file(folder + "/" + name, 64 << 20), name);
}

inline Json as_json(const ToolCall& call) {
  return Json::Object{{"name", call.name}, {"arguments", call.arguments}};
}

// Adjacent reasoning or text events are joined; the message of an invalid call is left out.
inline Json as_vectors(const std::vector<Event>& events) {
  Json::Array list;
  const auto add_text = [&](const char* type, const std::string& text) {
    const bool joins = !list.empty() && list.back()["type"] == Json(type);
    const std::string before = joins ? list.back()["text"].string() : "";
    if (joins) list.pop_back();
    list.push_back(Json::Object{{"type", type}, {"text", before + text}});
  };
  for (const Event& event : events) {
    if (const Reasoning* reasoning = std::get_if<Reasoning>(&event)) {
      add_text("reasoning", reasoning->text);
    } else if (const Text* text = std::get_if<Text>(&event)) {
      add_text("text", text->text);
    } else if (const ToolCall* call = std::get_if<ToolCall>(&event)) {
      list.push_back(
          Json::Object{{"type", "call"}, {"name", call->name}, {"arguments", call->arguments}});
    } else if (const InvalidToolCall* invalid = std::get_if<InvalidToolCall>(&event)) {
      list.push_back(Json::Object{{"type", "invalid"}, {"text", invalid->text}});
    }
  }
  return Json(std::move(list));
}

}  // namespace lfm::core
