#include "text/splitter.h"

#include <initializer_list>

namespace lfm::core {
namespace {

constexpr std::string_view kLongS = "\u017F";  // Unicode's s of another case

bool is_line_end(char byte) { return byte == '\r' || byte == '\n'; }

char lower(char byte) { return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte; }

}  // namespace

Pieces::Pieces(const Tables& tables, std::string_view text)
    : text_(text),
      characters_(tables, text),
      llama3_(tables.splitter() == Splitter::kLlama3),
      most_digits_(tables.most_digits()) {}

bool Pieces::next() {
  begin_ = end_;
  if (begin_ == text_.size()) return false;
  end_ = end_of_piece(begin_);
  return true;
}

size_t Pieces::end_of_piece(size_t at) const {
  const char byte = text_[at];
  if (byte == '\'') {
    if (const size_t end = end_of_contraction(at)) return end;
  }
  const uint8_t kind = characters_.kind(at);
  if (kind == kLetter) return end_of_run(at, kLetter);
  if (kind == kNumber) return end_of_numbers(at);
  // A piece of letters may begin with another character: any on its line, or a space alone.
  const size_t second = characters_.next(at);
  const uint8_t following = characters_.kind(second);
  const bool opens = llama3_ ? !is_line_end(byte) : byte == ' ';
  if (opens && following == kLetter) return end_of_run(second, kLetter);
  if (byte == ' ' && following == kOther) return end_of_others(second);
  if (byte == ' ' && following == kNumber && !llama3_) return end_of_numbers(second);
  return kind == kSpace ? end_of_spaces(at) : end_of_others(at);
}

// 0: there is none. Llama 3's takes capitals too.
size_t Pieces::end_of_contraction(size_t at) const {
  if (llama3_ && text_.substr(at + 1, kLongS.size()) == kLongS) return at + 1 + kLongS.size();
  const auto letter = [&](size_t place) {
    const char byte = characters_.byte(place);
    return llama3_ ? lower(byte) : byte;
  };
  const char first = letter(at + 1), second = letter(at + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
  const bool long_one =
      ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
  return long_one ? at + 3 : 0;
}

// White space up to the last line's end in it, or up to the one before the next word.
size_t Pieces::end_of_spaces(size_t at) const {
  size_t end = at, last = at, behind_line = 0;
  while (characters_.kind(end) == kSpace) {
    last = end;
    end = characters_.next(end);
    if (is_line_end(text_[last])) behind_line = end;
  }
  if (llama3_ && behind_line != 0) return behind_line;
  return end == text_.size() || last == at ? end : last;
}

size_t Pieces::end_of_numbers(size_t at) const {
  for (uint32_t count = 0; characters_.kind(at) == kNumber; ++count) {
    if (most_digits_ != 0 && count == most_digits_) break;
    at = characters_.next(at);
  }
  return at;
}

size_t Pieces::end_of_others(size_t at) const {
  at = end_of_run(at, kOther);
  while (llama3_ && is_line_end(characters_.byte(at))) ++at;
  return at;
}

size_t Pieces::end_of_run(size_t at, uint8_t kind) const {
  while (characters_.kind(at) == kind) at = characters_.next(at);
  return at;
}

}  // namespace lfm::core
