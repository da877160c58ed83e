// The characters of a text that is UTF-8, and their classes.
#pragma once

#include <cstdint>
#include <string_view>

#include "text/tables.h"

namespace lfm::core {

// What `Characters` gives beyond the end of a text.
constexpr uint8_t kNoCharacter = 0xFF;
constexpr uint8_t kAllClasses = kKind | kInWord | kStripped;

class Characters {
 public:
  Characters(const Tables& tables, std::string_view text) : tables_(tables), text_(text) {}

  size_t size() const { return text_.size(); }
  char byte(size_t at) const { return at < text_.size() ? text_[at] : '\0'; }

  // The class of the character that begins at `at`.
  uint8_t at(size_t at) const {
    return at < text_.size() ? tables_.character(code(at)) & kAllClasses : kNoCharacter;
  }
  // Of the character that ends before `at`.
  uint8_t before(size_t at) const { return at == 0 ? kNoCharacter : this->at(last(at)); }
  // kLetter, kNumber, kSpace, kOther or kNoCharacter.
  uint8_t kind(size_t at) const {
    const uint8_t found = this->at(at);
    return found == kNoCharacter ? found : found & kKind;
  }
  bool is(uint8_t found, CharacterClass bit) const {
    return found != kNoCharacter && (found & bit) != 0;
  }
  // Where the character behind that at `at` begins.
  size_t next(size_t at) const {
    do ++at;
    while (at < text_.size() && !begins(at));
    return at;
  }
  // Where the character before `at`, which is not 0, begins.
  size_t last(size_t at) const {
    do --at;
    while (at > 0 && !begins(at));
    return at;
  }

 private:
  bool begins(size_t at) const { return (text_[at] & 0xC0) != 0x80; }

  uint32_t code(size_t at) const {
    const auto bits = [&](size_t place, uint32_t mask) {
      return static_cast<unsigned char>(text_[place]) & mask;
    };
    const uint32_t first = bits(at, 0xFF);
    if (first < 0x80) return first;
    if (first < 0xE0) return (first & 0x1F) << 6 | bits(at + 1, 0x3F);
    if (first < 0xF0) return (first & 0x0F) << 12 | bits(at + 1, 0x3F) << 6 | bits(at + 2, 0x3F);
    return (first & 0x07) << 18 | bits(at + 1, 0x3F) << 12 | bits(at + 2, 0x3F) << 6 |
           bits(at + 3, 0x3F);
  }

  const Tables& tables_;
  std::string_view text_;
};

}  // namespace lfm::core
