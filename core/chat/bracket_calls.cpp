#include "chat/bracket_calls.h"

#include "chat/bracket_syntax.h"
#include "chat/characters.h"
#include "chat/literals.h"
#include "chat/string_ends.h"

namespace lfm::core {
namespace {

// A call that cannot be read.
struct CallError {
  std::string message;
  size_t at;
  int depth;  // how many brackets are open there
};

bool is_quote(char32_t c) { return c == '\'' || c == '"'; }

// Whether a quote, of this kind or of any for 0, stands behind backslashes: an odd number of them,
// or an even one or none.
bool has_quote(std::u32string_view text, char32_t quote, bool escaped) {
  size_t backslashes = 0;
  for (const char32_t c : text) {
    if (is_quote(c) && (quote == 0 || c == quote) && (backslashes % 2 == 1) == escaped) return true;
    backslashes = c == '\\' ? backslashes + 1 : 0;
  }
  return false;
}

class Parser {
 public:
  Parser(std::u32string_view text, const ToolNames& tools)
      : text_(text), tools_(tools), syntax_(text), ahead_(text, tools) {}

  ParsedCalls parse(bool closed);

 private:
  std::optional<size_t> refuse(size_t start, const CallError& error);
  std::optional<size_t> recover(size_t at, int depth) const;
  std::optional<size_t> behind_skipped_string(size_t at, char32_t quote) const;
  std::optional<size_t> read_one(size_t at, bool may_be_cut);
  ToolCall read_call(size_t& at);
  void read_argument(const std::string& call, size_t& at, Members& arguments);
  std::string read_string(const StringHead& opening, size_t begin, size_t end) const;
  Literal read_value(size_t at, const std::string& where);

  std::u32string_view text_;
  const ToolNames& tools_;
  BracketSyntax syntax_;
  StringEnds ahead_;
  ParsedCalls found_;
};

ParsedCalls Parser::parse(bool closed) {
  const size_t begin = behind_space(text_, 0);
  const bool is_list = begin < text_.size() && text_[begin] == '[';
  size_t first = begin;
  while (is_list && first < text_.size() && (text_[first] == '[' || is_space(text_[first])))
    ++first;
  const std::u32string_view whole = stripped(text_);
  const bool may_be_cut = !closed && is_list && whole.back() != ']';
  std::optional<size_t> at = first;
  while (at && !syntax_.end(*at)) {
    const size_t start = *at;
    try {
      at = read_one(start, may_be_cut);
    } catch (const CallError& error) {
      at = refuse(start, error);
    }
  }
  return std::move(found_);
}

// Reads a call, and says where the next one begins.
std::optional<size_t> Parser::read_one(size_t at, bool may_be_cut) {
  ToolCall call = read_call(at);
  const Step step = ahead_.after_call(at);
  if (!step.call.empty()) {
    found_.calls.push_back(std::move(call));
    return step.at;
  }
  if (step.rank < kAllReads) {
    found_.calls.push_back(std::move(call));
    return refuse(at, {"expected ',' or ']', got " + excerpt(text_, at), at, 0});
  }
  // Perhaps within its last string.
  if (may_be_cut) throw CallError{call.name + ": the call is cut off", at, 1};
  found_.calls.push_back(std::move(call));
  return std::nullopt;
}

std::optional<size_t> Parser::refuse(size_t start, const CallError& error) {
  const std::optional<size_t> following = recover(error.at, error.depth);
  constexpr std::u32string_view around = U" \t\r\n,;";
  std::u32string_view text = text_.substr(start, following.value_or(text_.size()) - start);
  text.remove_prefix(std::min(text.find_first_not_of(around), text.size()));
  text = text.substr(0, text.find_last_not_of(around) + 1);
  found_.errors.push_back({to_utf8(text), error.message});
  return following;
}

// Where the next call begins behind one that cannot be read.
std::optional<size_t> Parser::recover(size_t at, int depth) const {
  std::u32string endless;  // quotes that nothing closes any more
  for (at = text_.find_first_of(U"'\"()[]{},", at); at != text_.npos;
       at = text_.find_first_of(U"'\"()[]{},", at)) {
    const size_t place = at++;
    const char32_t token = text_[place];
    if (is_quote(token) && endless.find(token) == endless.npos) {
      const std::optional<size_t> end = behind_skipped_string(at, token);
      if (!end) endless += token;
      at = end.value_or(at);
    } else if (token == '(' || token == '[' || token == '{') {
      ++depth;
    } else if (token == ')' || token == ']' || token == '}') {
      depth = std::max(depth - 1, 0);
    }
    if (depth > 0) continue;
    const auto call = syntax_.next_call(token == ')' ? at : place);
    if (call && (tools_.empty() || tools_.count(to_utf8(call->name)) > 0)) return call->begin;
  }
  return std::nullopt;
}

std::optional<size_t> Parser::behind_skipped_string(size_t at, char32_t quote) const {
  for (at = text_.find(quote, at); at != text_.npos; at = text_.find(quote, at)) {
    ++at;
    const size_t next = behind_space(text_, at);
    if (next == text_.size() || std::u32string_view(U",:)]}").find(text_[next]) != text_.npos) {
      return at;
    }
  }
  return std::nullopt;
}

ToolCall Parser::read_call(size_t& at) {
  const std::optional<CallHead> head = syntax_.call(at);
  if (!head) throw CallError{"expected a call, got " + excerpt(text_, at), at, 0};
  const std::string name = to_utf8(head->name);
  Members arguments;
  at = head->end;
  std::optional<size_t> close = syntax_.close(at);
  while (!close) {
    read_argument(name, at, arguments);
    close = syntax_.close(at);
    if (close) break;
    const std::optional<size_t> comma = syntax_.comma(at);
    if (!comma) {
      throw CallError{name + ": expected ',' or ')', got " + excerpt(text_, at), at, 1};
    }
    at = *comma;
  }
  at = *close;
  return {name, arguments.take()};
}

void Parser::read_argument(const std::string& call, size_t& at, Members& arguments) {
  const std::optional<ArgumentHead> head = syntax_.argument(at);
  if (!head) throw CallError{call + ": expected name=value, got " + excerpt(text_, at), at, 1};
  at = head->end;
  if (head->parameter.empty()) {
    Literal read = read_value(at, call);
    if (!read.value.is_object()) {
      throw CallError{call + ": expected an object, got " + excerpt(text_, at), at, 1};
    }
    for (Json::Member& member : read.value.object()) {
      arguments.set(member.first, std::move(member.second));
    }
    at = read.end;
    return;
  }
  const std::string name = to_utf8(head->parameter), where = call + ": " + name;
  if (arguments.has(name)) throw CallError{where + " is given twice", at, 1};
  if (const std::optional<StringHead> string = syntax_.string(at)) {
    const std::optional<size_t> end = ahead_.string_end(*string, call, name, arguments);
    if (!end) {
      throw CallError{where + ": the string " + excerpt(text_, at) + " does not end", at, 1};
    }
    arguments.set(name, read_string(*string, at, *end));
    at = *end + 1;
    return;
  }
  Literal read = read_value(at, where);
  arguments.set(name, std::move(read.value));
  at = read.end;
}

std::string Parser::read_string(const StringHead& opening, size_t begin, size_t end) const {
  const std::u32string_view text = text_.substr(opening.end, end - opening.end);
  if (opening.prefix == 'f' && text.find(U'{') != text.npos) {
    throw CallError{"a string with {} in it is no literal", begin, 1};
  }
  const bool escapes =
      opening.prefix != 'r' && has_quote(text, 0, true) && !has_quote(text, opening.quote, false);
  return to_utf8(escapes ? unescaped(text) : std::u32string(text));
}

Literal Parser::read_value(size_t at, const std::string& where) {
  try {
    return ahead_.literal(at);
  } catch (const LiteralError& error) {
    throw CallError{where + ": " + error.message, at, 1};
  }
}

}  // namespace

ParsedCalls parse_bracket_calls(std::u32string_view text, const ToolNames& tools, bool closed) {
  return Parser(text, tools).parse(closed);
}

}  // namespace lfm::core
