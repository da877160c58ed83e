#include "chat/call_block.h"

#include <algorithm>

#include "chat/bracket_calls.h"
#include "chat/characters.h"
#include "chat/json_calls.h"
#include "chat/literals.h"
#include "chat/xml_calls.h"

namespace lfm::core {
namespace {

constexpr std::u32string_view kFence = U"```";

bool starts_with(std::u32string_view text, std::u32string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

std::u32string_view without_fence(std::u32string_view text) {
  text = stripped(text);
  const size_t line = text.find(U'\n');
  const bool fenced = starts_with(text, kFence) && line != text.npos &&
                      text.substr(text.size() - kFence.size()) == kFence;
  if (!fenced) return text;
  return stripped(text.substr(line, text.size() - kFence.size() - line));
}

bool holds_no_call(std::u32string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char32_t c) { return is_space(c) || c == '[' || c == ']'; });
}

bool begins_as_json(std::u32string_view text) {
  const size_t at = starts_with(text, U"[") ? behind_space(text, 1) : 0;
  return at < text.size() && text[at] == '{';
}

// Whether "arguments": or "parameters": stands somewhere, in either quotes.
bool has_arguments(std::u32string_view text) {
  const auto is_quote = [&](size_t at) {
    return at < text.size() && (text[at] == '"' || text[at] == '\'');
  };
  for (const std::u32string_view name : {U"arguments", U"parameters"}) {
    for (size_t at = text.find(name, 1); at != text.npos; at = text.find(name, at + 1)) {
      const size_t end = at + name.size();
      if (!is_quote(at - 1) || !is_quote(end)) continue;
      const size_t colon = behind_space(text, end + 1);
      if (colon < text.size() && text[colon] == ':') return true;
    }
  }
  return false;
}

ParsedCalls parse(std::u32string_view text, const ToolNames& tools, bool closed) {
  if (holds_no_call(text)) return {};
  if (begins_as_json(text)) return parse_json_calls(text, tools);
  if (begins_as_xml(text)) return parse_xml_calls(text, tools, closed);
  return parse_bracket_calls(text, tools, closed);
}

}  // namespace

ParsedCalls parse_block(std::string_view text, const ToolNames& tools, bool closed) {
  const std::u32string characters = to_characters(text);
  return parse(without_fence(characters), tools, closed);
}

ParsedCalls parse_unmarked(std::string_view text, const ToolNames& tools) {
  const std::u32string characters = to_characters(text);
  const std::u32string_view block = without_fence(characters);
  if (!starts_with(block, U"[") && !starts_with(block, U"{") && !begins_as_xml(block)) return {};
  if (tools.empty() && begins_as_json(block) && !has_arguments(block)) return {};
  ParsedCalls found = parse(without_fence(block), tools, false);
  const auto is_known = [&](const ToolCall& call) { return tools.count(call.name) > 0; };
  const bool all_known =
      tools.empty() || std::all_of(found.calls.begin(), found.calls.end(), is_known);
  return found.errors.empty() && all_known ? found : ParsedCalls();
}

}  // namespace lfm::core
