#include "chat/literals.h"

#include <vector>

#include "base/utf8.h"
#include "chat/characters.h"
#include "chat/numbers.h"
#include "chat/python_text.h"

namespace lfm::core {
namespace {

bool is_quote(char32_t c) { return c == '\'' || c == '"'; }

char32_t closing_of(char32_t opening) {
  return opening == '[' ? U']' : opening == '(' ? U')' : opening == '{' ? U'}' : 0;
}

size_t behind_word(std::u32string_view text, size_t at) {
  if (at >= text.size() || !is_word(text[at]) || is_decimal(text[at])) return at;
  ++at;
  while (at < text.size() && (is_word(text[at]) || text[at] == '$' || text[at] == '-')) ++at;
  return at;
}

// The constant that a word is: true, False, null, None, in any case.
const Json* constant(std::u32string_view word) {
  static const std::pair<std::u32string_view, Json> constants[] = {
      {U"true", true}, {U"false", false}, {U"null", nullptr}, {U"none", nullptr}};
  for (const auto& [name, value] : constants) {
    if (word.size() != name.size()) continue;
    size_t same = 0;
    while (same < name.size() && word[same] < 0x80 && (word[same] | 0x20) == name[same]) ++same;
    if (same == name.size()) return &value;
  }
  return nullptr;
}

// An object's key as JSON writes it.
std::string key_of(const Json& value, size_t at) {
  if (value.is_string()) return value.string();
  if (value.is_array() || value.is_object()) {
    throw LiteralError{"an object's key must be a string", at};
  }
  return value.dump();
}

class Reader {
 public:
  explicit Reader(std::u32string_view text) : text_(text) {}

  Literal value(size_t at, int depth) const {
    if (at < text_.size() && is_quote(text_[at])) return string(at);
    if (at < text_.size() && closing_of(text_[at]) != 0) {
      if (depth == kMaxLiteralDepth) {
        throw LiteralError{
            "the value nests deeper than " + std::to_string(kMaxLiteralDepth) + " levels", at};
      }
      return text_[at] == '{' ? object(at, depth) : list(at, depth);
    }
    if (const size_t end = number_end(text_, at); end > at) return number(at, end);
    const size_t end = behind_word(text_, at);
    if (const Json* found = constant(text_.substr(at, end - at))) return {*found, end};
    throw failure("a value", at);
  }

 private:
  bool stands(char32_t character, size_t at) const {
    return at < text_.size() && text_[at] == character;
  }

  LiteralError failure(const std::string& expected, size_t at) const {
    return {"expected " + expected + ", got " + excerpt(text_, at), at};
  }

  Literal string(size_t at) const {
    for (size_t end = at + 1; end < text_.size(); ++end) {
      if (text_[end] == '\\') {
        ++end;
      } else if (text_[end] == text_[at] && may_end(end + 1)) {
        return {to_utf8(unescaped(text_.substr(at + 1, end - at - 1))), end + 1};
      }
    }
    throw LiteralError{"the string " + excerpt(text_, at) + " does not end", text_.size()};
  }

  // Whether a literal can end before `at`.
  bool may_end(size_t at) const {
    at = behind_space(text_, at);
    return at == text_.size() ||
           std::u32string_view(U",:)]}").find(text_[at]) != std::u32string_view::npos;
  }

  Literal number(size_t at, size_t end) const {
    const std::u32string_view number = text_.substr(at, end - at);
    if (std::optional<Json> value = number_value(number)) return {std::move(*value), end};
    throw LiteralError{"the number " + to_utf8(number.substr(0, 24)) + " has no value in JSON",
                       end};
  }

  Literal list(size_t at, int depth) const {
    const char32_t opening = text_[at], closing = closing_of(opening);
    Json::Array items;
    bool comma = true;
    at = behind_space(text_, at + 1);
    while (!stands(closing, at)) {
      Literal item = value(at, depth + 1);
      items.push_back(std::move(item.value));
      at = item.end;
      comma = separator(at, closing);
    }
    if (opening == '(' && !comma && items.size() == 1) return {std::move(items[0]), at + 1};
    return {Json(std::move(items)), at + 1};
  }

  // An object, or a set: what follows the first item tells.
  Literal object(size_t at, int depth) const {
    Members entries;
    Json::Array items;
    at = behind_space(text_, at + 1);
    while (!stands('}', at)) {
      const size_t word = bare_name_end(at);
      Literal item =
          word > at ? Literal{to_utf8(text_.substr(at, word - at)), word} : value(at, depth + 1);
      const size_t after = behind_space(text_, item.end);
      if (items.empty() && stands(':', after)) {
        Literal entry = value(behind_space(text_, after + 1), depth + 1);
        entries.set(key_of(item.value, entry.end), std::move(entry.value));
        at = entry.end;
      } else if (entries.empty() && word == at) {
        items.push_back(std::move(item.value));
        at = item.end;
      } else {
        throw failure("':'", after);
      }
      separator(at, '}');
    }
    return {items.empty() ? entries.take() : Json(std::move(items)), at + 1};
  }

  // The end of an object's key without quotes; `at` where none stands there.
  size_t bare_name_end(size_t at) const {
    const size_t end = behind_word(text_, at);
    return constant(text_.substr(at, end - at)) ? at : end;
  }

  // Goes behind an item to the next one, or to the closing bracket; whether over a comma.
  bool separator(size_t& at, char32_t closing) const {
    at = behind_space(text_, at);
    if (stands(',', at)) {
      at = behind_space(text_, at + 1);
      return true;
    }
    if (!stands(closing, at)) {
      throw failure(std::string("',' or '") + static_cast<char>(closing) + "'", at);
    }
    return false;
  }

  std::u32string_view text_;
};

constexpr char32_t kNoEscape = 0xFFFFFFFF;
constexpr char32_t kNothing = 0xFFFFFFFE;

char32_t simple_escape(char32_t letter) {
  static constexpr char32_t letters[] = U"ntrbfav0\\'\"/\n";
  static constexpr char32_t meanings[] = {'\n', '\t', '\r', '\b', '\f', '\a',    '\v',
                                          '\0', '\\', '\'', '"',  '/',  kNothing};
  for (size_t i = 0; letters[i] != 0; ++i) {
    if (letters[i] == letter) return meanings[i];
  }
  return kNoEscape;
}

// The number of `count` hexadecimal digits at `at`, or kNoEscape.
char32_t hex_number(std::u32string_view text, size_t at, size_t count) {
  if (count > text.size() - at) return kNoEscape;
  uint64_t number = 0;
  for (size_t i = at; i < at + count; ++i) {
    const char32_t c = text[i], lower = c | 0x20;
    const bool is_letter = lower >= 'a' && lower <= 'f';
    if (!is_letter && (c < '0' || c > '9')) return kNoEscape;
    number = number << 4 | (is_letter ? lower - 'a' + 10 : c - '0');
  }
  return number <= 0x10FFFF ? static_cast<char32_t>(number) : kNoEscape;
}

bool is_high(char32_t c) { return c >= 0xD800 && c < 0xDC00; }
bool is_low(char32_t c) { return c >= 0xDC00 && c < 0xE000; }

std::u32string joined_surrogates(const std::u32string& text) {
  std::u32string joined;
  for (size_t at = 0; at < text.size(); ++at) {
    if (is_high(text[at]) && at + 1 < text.size() && is_low(text[at + 1])) {
      joined += 0x10000 + ((text[at] - 0xD800) << 10) + (text[at + 1] - 0xDC00);
      ++at;
    } else {
      joined += is_high(text[at]) || is_low(text[at]) ? U'\uFFFD' : text[at];
    }
  }
  return joined;
}

}  // namespace

void Members::set(const std::string& name, Json value) {
  const auto [place, is_new] = places_.emplace(name, members_.size());
  if (is_new) {
    members_.emplace_back(name, std::move(value));
  } else {
    members_[place->second].second = std::move(value);
  }
}

Literal read_literal(std::u32string_view text, size_t at) { return Reader(text).value(at, 0); }

std::u32string unescaped(std::u32string_view text) {
  std::u32string read;
  bool surrogates = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\' || at + 1 == text.size()) {
      read += text[at];
      continue;
    }
    const char32_t letter = text[at + 1];
    const size_t digits = letter == 'u' ? 4 : letter == 'U' ? 8 : letter == 'x' ? 2 : 0;
    const char32_t meaning = digits > 0 ? hex_number(text, at + 2, digits) : simple_escape(letter);
    if (meaning == kNoEscape) {
      read += text.substr(at, 2);
    } else if (meaning != kNothing) {
      surrogates = surrogates || is_high(meaning) || is_low(meaning);
      read += meaning;
    }
    at += meaning == kNoEscape ? 1 : 1 + digits;
  }
  return surrogates ? joined_surrogates(read) : read;
}

std::string excerpt(std::u32string_view text, size_t at) {
  std::u32string_view found = text.substr(std::min(at, text.size()), 64);
  while (!found.empty() && is_space(found.front())) found.remove_prefix(1);
  return found.empty() ? "the end" : python_quoted(to_utf8(found.substr(0, 24)));
}

size_t behind_space(std::u32string_view text, size_t at) {
  while (at < text.size() && is_space(text[at])) ++at;
  return at;
}

}  // namespace lfm::core
