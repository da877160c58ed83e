#include "chat/xml_calls.h"

#include <algorithm>
#include <optional>

#include "chat/bracket_calls.h"
#include "chat/bracket_syntax.h"
#include "chat/characters.h"
#include "chat/literals.h"

namespace lfm::core {
namespace {

using Text = std::u32string_view;

constexpr Text kBlock = U"<tool_call>", kBlockEnd = U"</tool_call>";
constexpr Text kFunction = U"<function=", kFunctionEnd = U"</function>";
constexpr Text kParameter = U"<parameter=", kParameterEnd = U"</parameter>";
constexpr size_t kLongestName = 128;
constexpr int kAttempts = 8;  // at literals that end elsewhere, so that time stays linear

struct CallError {
  std::string message;
  size_t at;
};

struct Opening {
  Text name;
  size_t end;
};

struct ValueEnd {
  size_t begin, end;
};

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

// -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?, and nothing else.
bool is_number(Text text) {
  size_t at = 0;
  const auto stands = [&](Text characters) {
    return at < text.size() && characters.find(text[at]) != characters.npos;
  };
  const auto digits = [&] {
    const size_t begin = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at > begin;
  };
  if (stands(U"-")) ++at;
  const size_t first = at;
  if (!digits() || (text[first] == '0' && at > first + 1)) return false;
  if (stands(U".")) {
    ++at;
    if (!digits()) return false;
  }
  if (stands(U"eE")) {
    ++at;
    if (stands(U"+-")) ++at;
    if (!digits()) return false;
  }
  return at == text.size();
}

bool is_null(Text text) { return text == U"null" || text == U"None"; }

bool may_be_literal(Text text) {
  if (text.empty()) return false;
  return text[0] == '{' || text[0] == '[' || text == U"true" || text == U"false" ||
         text == U"True" || text == U"False" || is_null(text) || is_number(text);
}

class Parser {
 public:
  Parser(Text text, const ToolNames& tools)
      : text_(text), tools_(tools), budget_(text.size() / 4 + 1000) {}

  ParsedCalls parse(bool closed) {
    ParsedCalls found;
    size_t at = behind_markers(0);
    while (at < text_.size()) {
      const size_t start = at;
      try {
        found.calls.push_back(read_call(at, closed));
      } catch (const CallError& error) {
        at = next_function(std::max(error.at, start + 1));
        found.errors.push_back({to_utf8(refused(start, at)), error.message});
      }
      at = behind_markers(at);
    }
    return found;
  }

 private:
  bool stands(Text tag, size_t at) const {
    return at <= text_.size() && text_.substr(at, tag.size()) == tag;
  }

  size_t behind_markers(size_t at) const {
    while (true) {
      at = behind_space(text_, at);
      if (stands(kBlock, at)) {
        at += kBlock.size();
      } else if (stands(kBlockEnd, at)) {
        at += kBlockEnd.size();
      } else {
        return at;
      }
    }
  }

  std::optional<Opening> function(size_t at) const {
    if (!stands(kFunction, at)) return std::nullopt;
    const size_t begin = behind_space(text_, at + kFunction.size());
    const size_t end = function_name_end(text_, begin);
    const size_t bracket = behind_space(text_, end);
    if (end == begin || !stands(U">", bracket)) return std::nullopt;
    return Opening{text_.substr(begin, end - begin), bracket + 1};
  }

  std::optional<Opening> parameter(size_t at) const {
    if (!stands(kParameter, at)) return std::nullopt;
    const size_t begin = at + kParameter.size();
    size_t end = begin;
    while (end < text_.size() && end - begin < kLongestName && text_[end] != '>' &&
           text_[end] != '\n') {
      ++end;
    }
    if (end == begin || !stands(U">", end)) return std::nullopt;
    return Opening{text_.substr(begin, end - begin), end + 1};
  }

  size_t next_function(size_t at) const {
    for (at = text_.find(kFunction, at); at != text_.npos; at = text_.find(kFunction, at + 1)) {
      if (function(at)) return at;
    }
    return text_.size();
  }

  Text refused(size_t begin, size_t end) const {
    Text text = text_.substr(begin, end - begin);
    if (text.size() >= kBlock.size() && text.substr(text.size() - kBlock.size()) == kBlock) {
      text.remove_suffix(kBlock.size());
    }
    return stripped(text);
  }

  // Moves `at` behind the call.
  ToolCall read_call(size_t& at, bool closed) {
    const std::optional<Opening> opening = function(at);
    if (!opening) throw CallError{"expected <function=NAME>, got " + excerpt(text_, at), at};
    const std::string name = to_utf8(opening->name);
    size_t reached = behind_space(text_, opening->end);
    Members arguments;
    if (stands(U"{", reached)) reached = read_object(name, reached, arguments);
    while (!stands(kFunctionEnd, reached)) {
      if (reached == text_.size()) {
        if (!closed) throw CallError{name + ": the call is cut off", reached};
        at = reached;  // only the tag was forgotten
        return {name, arguments.take()};
      }
      reached = read_parameter(name, reached, arguments);
    }
    at = reached + kFunctionEnd.size();
    return {name, arguments.take()};
  }

  // Arguments as one JSON object, as other models write them between such tags.
  size_t read_object(const std::string& call, size_t at, Members& arguments) const {
    try {
      Literal read = read_literal(text_, at);
      if (!read.value.is_object()) {
        throw CallError{call + ": expected an object, got " + excerpt(text_, at), at};
      }
      for (const Json::Member& member : read.value.object()) {
        arguments.set(member.first, member.second);
      }
      return behind_markers(read.end);
    } catch (const LiteralError& error) {
      throw CallError{call + ": " + error.message, error.at};
    }
  }

  size_t read_parameter(const std::string& call, size_t at, Members& arguments) {
    const std::optional<Opening> opening = parameter(at);
    if (!opening) {
      throw CallError{
          call + ": expected <parameter=NAME> or </function>, got " + excerpt(text_, at), at};
    }
    const std::string name = to_utf8(stripped(opening->name));
    const size_t begin = opening->end;
    if (arguments.has(name)) throw CallError{call + ": " + name + " is given twice", begin};
    std::optional<ValueEnd> end = literal_end(call, name, begin);
    if (!end) end = value_end(begin);
    if (!end) {
      throw CallError{call + ": " + name + ": expected </parameter> behind the value", begin};
    }
    Text text = text_.substr(begin, end->begin - begin);
    if (!text.empty() && text.front() == '\n') text.remove_prefix(1);
    if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    arguments.set(name, value(call, name, text));
    return end->end;
  }

  // The tag that ends a list or an object, if there is one.
  std::optional<ValueEnd> literal_end(const std::string& call, const std::string& name,
                                      size_t begin) {
    const size_t start = behind_space(text_, begin);
    const StringValues* strings = strings_of(call, name);
    const bool opened = stands(U"{", start) || stands(U"[", start);
    if (!opened || (strings != nullptr && !strings->others)) return std::nullopt;
    if (attempts_ == 0) return std::nullopt;
    --attempts_;
    size_t at = 0;
    try {
      at = behind_space(text_, read_literal(text_, start).end);
    } catch (const LiteralError&) {
      return std::nullopt;
    }
    // A string of JSON's cannot hold this: it is one that is open.
    if (text_.substr(start, at - start).find(U"\n</parameter>") != text_.npos) return std::nullopt;
    if (!stands(kParameterEnd, at)) return std::nullopt;
    const ValueEnd tag{at, behind_space(text_, at + kParameterEnd.size())};
    if (!goes_on(tag.end)) return std::nullopt;
    ++attempts_;
    return tag;
  }

  // The tag that ends a value, if there is one at all.
  std::optional<ValueEnd> value_end(size_t begin) {
    std::optional<ValueEnd> first, likely;
    size_t opened = 0;
    for (size_t at = text_.find('<', begin); at != text_.npos; at = text_.find('<', at)) {
      const std::optional<Opening> opening = parameter(at);
      if (!opening && !stands(kParameterEnd, at)) {
        ++at;
        continue;
      }
      if (budget_ == 0) break;
      --budget_;
      if (opening) {
        ++opened;
        at = opening->end;
        continue;
      }
      const ValueEnd tag{at, behind_space(text_, at + kParameterEnd.size())};
      if (!first) first = tag;
      if (goes_on(tag.end)) {
        if (opened == 0) return tag;
        if (!likely) likely = tag;
      }
      opened -= opened > 0;
      at = tag.end;
    }
    return likely ? likely : first;
  }

  // Whether behind a value the call goes on or ends.
  bool goes_on(size_t at) const {
    if (at == text_.size() || parameter(at)) return true;
    if (!stands(kFunctionEnd, at)) return false;
    at = behind_space(text_, at + kFunctionEnd.size());
    return at == text_.size() || stands(kFunction, at) || stands(kBlock, at) ||
           stands(kBlockEnd, at);
  }

  // What a parameter may be, or null where it takes no strings or is not known.
  const StringValues* strings_of(const std::string& call, const std::string& name) const {
    const auto tool = tools_.find(call);
    if (tool == tools_.end()) return nullptr;
    const auto strings = tool->second.strings.find(name);
    return strings == tool->second.strings.end() ? nullptr : &strings->second;
  }

  Json value(const std::string& call, const std::string& name, Text text) const {
    const Text visible = stripped(text);
    if (const StringValues* values = strings_of(call, name)) {
      const bool listed = values->texts.count(to_utf8(text)) > 0;
      if (values->null && is_null(visible) && !listed) return Json();
      if (listed || !values->others) return Json(to_utf8(text));
    }
    if (may_be_literal(visible)) {
      try {
        Literal read = read_literal(visible, 0);
        if (read.end == visible.size()) return std::move(read.value);
      } catch (const LiteralError&) {
        // It is text.
      }
    }
    return Json(to_utf8(text));
  }

  Text text_;
  const ToolNames& tools_;
  size_t budget_;  // of tags looked at, so that time stays linear
  int attempts_ = kAttempts;
};

}  // namespace

bool begins_as_xml(std::u32string_view text) {
  size_t at = 0;
  if (text.substr(0, kBlock.size()) == kBlock) at = behind_space(text, kBlock.size());
  return text.substr(at, kFunction.size()) == kFunction;
}

ParsedCalls parse_xml_calls(std::u32string_view text, const ToolNames& tools, bool closed) {
  return Parser(text, tools).parse(closed);
}

}  // namespace lfm::core
