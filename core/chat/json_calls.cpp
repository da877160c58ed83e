#include "chat/json_calls.h"

#include <algorithm>

#include "chat/characters.h"
#include "chat/literals.h"

namespace lfm::core {
namespace {

constexpr const char* kArguments[] = {"arguments", "parameters", "args", "input"};
constexpr const char* kNames[] = {"name", "tool", "tool_name", "function"};
constexpr const char* kIgnored[] = {"type", "id", "index"};

// A JSON value that is no call.
struct NoCall {
  std::string message;
};

bool is_separator(char32_t c) {
  return is_space(c) || std::u32string_view(U",;[]").find(c) != std::u32string_view::npos;
}

size_t behind_separators(std::u32string_view text, size_t at) {
  while (at < text.size() && is_separator(text[at])) ++at;
  return at;
}

// Where the next object begins behind the end of one; the end of the text if none does.
size_t next_object(std::u32string_view text, size_t at) {
  while (true) {
    at = text.find(U'}', at);
    if (at == text.npos) return text.size();
    const size_t next = behind_separators(text, at + 1);
    if (next < text.size() && text[next] == '{') return next;
    at = next;
  }
}

template <size_t count>
bool is_one_of(const char* const (&names)[count], const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

void require_nothing_else(const Json& call) {
  Json::Array others;
  for (const Json::Member& member : call.object()) {
    if (!is_one_of(kIgnored, member.first) && !is_one_of(kNames, member.first)) {
      others.emplace_back(member.first);
    }
  }
  if (others.empty()) return;
  std::sort(others.begin(), others.end(),
            [](const Json& a, const Json& b) { return a.string() < b.string(); });
  throw NoCall{"the arguments must stand under \"arguments\", got " + python_repr(Json(others))};
}

Json read_arguments_text(const std::string& key, const std::string& json) {
  const std::u32string text = to_characters(json);
  try {
    Literal read = read_literal(text, behind_separators(text, 0));
    if (behind_separators(text, read.end) == text.size()) return std::move(read.value);
  } catch (const LiteralError& error) {
    throw NoCall{"\"" + key + "\": " + error.message};
  }
  throw NoCall{"\"" + key + "\": expected one object"};
}

Json arguments_of(const Json& call) {
  const auto key = std::find_if(std::begin(kArguments), std::end(kArguments),
                                [&](const char* name) { return call.has(name); });
  if (key == std::end(kArguments)) {
    require_nothing_else(call);
    return Json(Json::Object{});
  }
  const Json& given = call[*key];
  Json arguments = given.is_string() ? read_arguments_text(*key, given.string()) : given;
  if (arguments.is_null()) return Json(Json::Object{});
  if (!arguments.is_object()) throw NoCall{"\"" + std::string(*key) + "\": expected an object"};
  return arguments;
}

ToolCall call_of(const Json& value, const ToolNames& tools) {
  if (!value.is_object()) {
    throw NoCall{"expected an object with \"name\" and \"arguments\""};
  }
  if (value["function"].is_object()) return call_of(value["function"], tools);
  for (const char* key : kNames) {
    if (value[key].is_string()) return {value[key].string(), arguments_of(value)};
  }
  if (value.object().size() == 1) {
    const auto& [name, arguments] = value.object().front();
    if (tools.count(name) > 0 && arguments.is_object()) return {name, arguments};
  }
  throw NoCall{"the object has no \"name\""};
}

}  // namespace

ParsedCalls parse_json_calls(std::u32string_view text, const ToolNames& tools) {
  ParsedCalls found;
  const auto refuse = [&](size_t begin, size_t end, const std::string& message) {
    found.errors.push_back({to_utf8(text.substr(begin, end - begin)), message});
  };
  size_t at = behind_separators(text, 0);
  while (at < text.size()) {
    const size_t start = at;
    try {
      const Literal read = read_literal(text, at);
      at = read.end;
      found.calls.push_back(call_of(read.value, tools));
    } catch (const LiteralError& error) {
      at = next_object(text, std::max(error.at > 0 ? error.at - 1 : 0, start));
      refuse(start, at, error.message);
    } catch (const NoCall& error) {
      refuse(start, at, error.message);
    }
    at = behind_separators(text, at);
  }
  return found;
}

}  // namespace lfm::core
