#include "chat/bracket_syntax.h"

#include "chat/bracket_calls.h"
#include "chat/characters.h"
#include "chat/literals.h"

namespace lfm::core {
namespace {

constexpr size_t kLongestName = 128;

// The end of up to 128 characters of words and of `others`, the last of a word; `at` if none.
size_t name_end(std::u32string_view text, size_t at, std::u32string_view others) {
  size_t end = at;
  while (end < text.size() && end - at < kLongestName &&
         (is_word(text[end]) || others.find(text[end]) != others.npos)) {
    ++end;
  }
  return end > at && is_word(text[end - 1]) ? end : at;
}

size_t parameter_end(std::u32string_view text, size_t at) { return name_end(text, at, U"$@.-"); }

}  // namespace

size_t function_name_end(std::u32string_view text, size_t at) {
  return name_end(text, at, U"$@./:-");
}

bool is_function_name(std::u32string_view name) {
  return !name.empty() && function_name_end(name, 0) == name.size();
}

std::optional<CallHead> BracketSyntax::call(size_t at) const {
  const size_t end = function_name_end(text_, at);
  const size_t bracket = behind_space(text_, end);
  if (end == at || !stands('(', bracket)) return std::nullopt;
  return CallHead{text_.substr(at, end - at), at, bracket + 1};
}

std::optional<ArgumentHead> BracketSyntax::argument(size_t at) const {
  const size_t begin = behind_space(text_, at);
  const size_t end = parameter_end(text_, begin);
  if (end > begin) {
    const size_t sign = behind_space(text_, end);
    if (!stands('=', sign) || stands('=', sign + 1)) return std::nullopt;
    return ArgumentHead{text_.substr(begin, end - begin), behind_space(text_, sign + 1)};
  }
  if (stands('*', begin) && stands('*', begin + 1)) {
    const size_t object = behind_space(text_, begin + 2);
    if (stands('{', object)) return ArgumentHead{{}, object};
  }
  const bool first = begin > 0 && stands('(', begin - 1) && stands('{', begin);
  return first ? std::optional(ArgumentHead{{}, begin}) : std::nullopt;
}

std::optional<StringHead> BracketSyntax::string(size_t at) const {
  const bool has_prefix = stands_one_of(U"rRuUfF", at);
  const size_t quote = has_prefix ? at + 1 : at;
  if (!stands_one_of(U"'\"", quote)) return std::nullopt;
  return StringHead{has_prefix ? text_[at] | 0x20 : 0, text_[quote], quote + 1};
}

std::optional<size_t> BracketSyntax::comma(size_t at) const {
  at = behind_space(text_, at);
  return stands(',', at) ? std::optional(at + 1) : std::nullopt;
}

std::optional<size_t> BracketSyntax::close(size_t at) const {
  at = behind_space(text_, comma(at).value_or(at));
  return stands(')', at) ? std::optional(at + 1) : std::nullopt;
}

bool BracketSyntax::end(size_t at) const {
  at = behind_space(text_, at);
  if (stands_one_of(U",;", at)) ++at;
  return behind(U"]", at) == text_.size();
}

bool BracketSyntax::list_end(size_t at) const { return stands(']', behind_space(text_, at)); }

std::optional<CallHead> BracketSyntax::next_call(size_t at) const {
  const size_t begin = behind_next_separator(at);
  return begin > at ? call(begin) : std::nullopt;
}

bool BracketSyntax::closing_quote(size_t at) const {
  return stands_one_of(U",)", behind_space(text_, at + 1));
}

// The position behind white space and these characters.
size_t BracketSyntax::behind(std::u32string_view characters, size_t at) const {
  while (at < text_.size() && (is_space(text_[at]) || stands_one_of(characters, at))) ++at;
  return at;
}

// Behind `], [`, a comma, a semicolon or an end of line; `at` itself where none stands there.
size_t BracketSyntax::behind_next_separator(size_t at) const {
  const size_t sign = behind_space(text_, at);
  if (stands(']', sign)) {
    const size_t list = behind(U",;", sign + 1);
    return stands('[', list) ? behind_space(text_, list + 1) : at;
  }
  if (stands_one_of(U",;", sign)) return behind_space(text_, sign + 1);
  return text_.substr(at, sign - at).find(U'\n') != text_.npos ? sign : at;
}

}  // namespace lfm::core
