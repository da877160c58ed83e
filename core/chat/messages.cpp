#include "chat/messages.h"

#include "base/error.h"
#include "chat/marked.h"
#include "chat/python_text.h"

namespace lfm::core {
namespace {

constexpr const char* kReasoningFields[] = {"reasoning_content", "thinking", "reasoning"};

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw Error(LFM_INVALID_REQUEST, where + ": " + what);
}

Json arguments(const Json& value, const std::string& where) {
  const bool is_text = value.is_string();
  if (value.is_null() ||
      (is_text && Marked(value.string()).trimmed(true, false, "").text().empty())) {
    return Json(Json::Object());
  }
  Json read = is_text ? Json::parse(value.string(), where + ": not JSON") : value;
  if (!read.is_object()) {
    refuse(where, "got a " + type_name(read) + ", expected an object or its JSON text");
  }
  return read;
}

// The call with its arguments as an object, whether it is wrapped in `function` or not.
Json with_object(Json call, const std::string& where) {
  if (!call.is_object()) refuse(where, "got a " + type_name(call) + ", expected an object");
  if (call["function"].is_object()) {
    call.set("function", with_object(call["function"], where + ".function"));
  } else if (call.has("arguments")) {
    call.set("arguments", arguments(call["arguments"], where + ".arguments"));
  }
  return call;
}

Json normalized_calls(const Json& calls, const std::string& where) {
  if (!calls.is_array()) refuse(where, "expected a list of calls");
  Json::Array found;
  for (const Json& call : calls.array()) {
    found.push_back(with_object(call, where + "[" + std::to_string(found.size()) + "]"));
  }
  return Json(std::move(found));
}

Json normalized(const Json& message, const std::string& where) {
  Json given{Json::Object()};
  for (const Json::Member& member : message.object()) {
    if (member.second.is_null()) continue;
    if (member.first == "tool_calls") {
      Json calls = normalized_calls(member.second, where + ".tool_calls");
      if (!calls.array().empty()) given.set(member.first, std::move(calls));
    } else if (member.first == "function_call" && member.second.is_object()) {
      given.set(member.first, with_object(member.second, where + ".function_call"));
    } else {
      given.object().push_back(member);
    }
  }
  for (const char* field : kReasoningFields) {
    if (!given.has(field)) continue;
    const Json thought = given[field];
    if (!given.has("thinking")) given.set("thinking", thought);
    given.set("reasoning_content", thought);
    break;
  }
  return given;
}

}  // namespace

Json normalized_messages(const Json& messages) {
  if (!messages.is_array()) refuse("messages", "expected a list");
  const auto place = [](size_t index) { return "messages[" + std::to_string(index) + "]"; };
  const Json::Array& all = messages.array();
  for (size_t index = 0; index < all.size(); ++index) {
    if (!all[index].is_object()) {
      refuse(place(index), "got a " + type_name(all[index]) + ", expected a mapping");
    }
  }
  Json::Array found;
  for (const Json& message : all) found.push_back(normalized(message, place(found.size())));
  return Json(std::move(found));
}

}  // namespace lfm::core
