#include "chat/marked.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace lfm::core {
namespace {

constexpr size_t kMostCharacters = size_t{8} << 20;
constexpr size_t kMostBytes = 4 * kMostCharacters;

[[noreturn]] void refuse_length() {
  throw Error(LFM_TEMPLATE, "the chat template makes a text of more than " +
                                grouped(kMostCharacters) + " characters");
}

bool is_python_space(uint32_t character) {
  return (character >= 0x09 && character <= 0x0D) || (character >= 0x1C && character <= 0x20) ||
         character == 0x85 || character == 0xA0 || character == 0x1680 ||
         (character >= 0x2000 && character <= 0x200A) || character == 0x2028 ||
         character == 0x2029 || character == 0x202F || character == 0x205F || character == 0x3000;
}

bool goes(uint32_t character, std::string_view characters) {
  if (characters.empty()) return is_python_space(character);
  return character < 0x80 && characters.find(static_cast<char>(character)) != characters.npos;
}

size_t begin_of_last(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

}  // namespace

void Marked::add(std::string_view text, Author author) {
  if (text.size() > kMostBytes - text_.size()) refuse_length();
  const size_t begin = text_.size();
  text_ += text;
  if (author == Author::kOthers) add_theirs(begin, text_.size());
}

void Marked::add(const Marked& other) {
  const size_t offset = text_.size();
  add(other.text_, Author::kTemplate);
  for (const Range& range : other.theirs_) add_theirs(offset + range.begin, offset + range.end);
}

void Marked::add_theirs(size_t begin, size_t end) {
  if (begin == end) return;
  if (!theirs_.empty() && theirs_.back().end == begin) {
    theirs_.back().end = end;
  } else {
    theirs_.push_back({begin, end});
  }
}

Marked Marked::part(size_t begin, size_t end) const {
  Marked result;
  result.text_ = text_.substr(begin, end - begin);
  for (const Range& range : theirs_) {
    const size_t from = std::max(range.begin, begin), to = std::min(range.end, end);
    if (from < to) result.add_theirs(from - begin, to - begin);
  }
  return result;
}

Marked Marked::trimmed(bool left, bool right, std::string_view characters) const {
  size_t begin = 0, end = text_.size();
  while (left && begin < end) {
    const Decoded first = decode_utf8(text_, begin);
    if (!goes(first.character, characters)) break;
    begin += first.size;
  }
  while (right && end > begin) {
    const size_t last = begin_of_last(text_, end);
    if (!goes(decode_utf8(text_, last).character, characters)) break;
    end = last;
  }
  return part(begin, end);
}

void require_prompt_length(std::string_view text) {
  size_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  if (count > kMostCharacters) refuse_length();
}

}  // namespace lfm::core
