#include "chat/characters.h"

#include <algorithm>

#include "base/utf8.h"
#include "chat/character_tables.h"
#include "chat/python_text.h"

namespace lfm::core {
namespace {

bool in_ranges(const CharacterRange* ranges, size_t count, uint32_t character) {
  const CharacterRange* found =
      std::upper_bound(ranges, ranges + count, character,
                       [](uint32_t c, const CharacterRange& range) { return c < range.first; });
  return found != ranges && character <= found[-1].last;
}

bool is_ascii_digit(char32_t c) { return c >= '0' && c <= '9'; }

bool is_ascii_letter(char32_t c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

}  // namespace

bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word(char32_t c) {
  if (c < 0x80) return is_ascii_letter(c) || is_ascii_digit(c) || c == '_';
  return in_ranges(kWordRanges, kWordCount, c);
}

bool is_decimal(char32_t c) {
  return c < 0x80 ? is_ascii_digit(c) : in_ranges(kDecimalRanges, kDecimalCount, c);
}

std::u32string to_characters(std::string_view utf8) {
  std::u32string characters;
  characters.reserve(utf8.size());
  for (size_t at = 0; at < utf8.size();) {
    const Decoded decoded = decode_utf8(utf8, at);
    characters +=
        static_cast<char32_t>(decoded.character == kInvalid ? kReplacement : decoded.character);
    at += static_cast<size_t>(decoded.size);
  }
  return characters;
}

std::string to_utf8(std::u32string_view characters) {
  std::string text;
  text.reserve(characters.size());
  for (const char32_t c : characters) append_utf8(text, c);
  return text;
}

std::u32string_view stripped(std::u32string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view right_stripped(std::string_view utf8) {
  while (!utf8.empty()) {
    size_t begin = utf8.size() - 1;
    while (begin > 0 && (utf8[begin] & 0xC0) == 0x80) --begin;
    if (!is_space(decode_utf8(utf8, begin).character)) break;
    utf8 = utf8.substr(0, begin);
  }
  return utf8;
}

std::string without_space(std::string_view utf8) {
  std::string visible;
  for (size_t at = 0; at < utf8.size();) {
    const Decoded decoded = decode_utf8(utf8, at);
    const auto size = static_cast<size_t>(decoded.size);
    if (!is_space(decoded.character)) visible += utf8.substr(at, size);
    at += size;
  }
  return visible;
}

std::string python_repr(const Json& value) {
  std::string text;
  switch (value.kind()) {
    case Json::Kind::kString:
      return python_quoted(value.string());
    case Json::Kind::kArray:
      for (const Json& item : value.array()) text += (text.empty() ? "" : ", ") + python_repr(item);
      return "[" + text + "]";
    case Json::Kind::kObject:
      for (const Json::Member& member : value.object()) {
        text += (text.empty() ? "" : ", ") + python_quoted(member.first) + ": " +
                python_repr(member.second);
      }
      return "{" + text + "}";
    default:
      return python_scalar(value);
  }
}

std::string python_json(const Json& value) {
  std::string text;
  if (value.is_array()) {
    for (const Json& item : value.array()) text += (text.empty() ? "" : ", ") + python_json(item);
    return "[" + text + "]";
  }
  if (value.is_object()) {
    for (const Json::Member& member : value.object()) {
      text += (text.empty() ? "" : ", ") + json_string(member.first, true) + ": " +
              python_json(member.second);
    }
    return "{" + text + "}";
  }
  return value.is_string() ? json_string(value.string(), true) : value.dump();
}

}  // namespace lfm::core
