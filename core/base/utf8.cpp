#include "base/utf8.h"

namespace lfm::core {
namespace {

// How many bytes a character has that begins so, and the range of its second byte, which alone
// rules out spellings that are too long, surrogates, and what lies beyond U+10FFFF.
struct Lead {
  int size;  // 0: none begins so
  unsigned char low, high;
};

Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0) {
    const unsigned char low = byte == 0xE0 ? 0xA0 : 0x80;
    const unsigned char high = byte == 0xED ? 0x9F : 0xBF;
    return {3, low, high};
  }
  if (byte < 0xF5) {
    const unsigned char low = byte == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = byte == 0xF4 ? 0x8F : 0xBF;
    return {4, low, high};
  }
  return {0, 0, 0};
}

}  // namespace

Decoded decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t place) { return static_cast<unsigned char>(text[place]); };
  const unsigned char first = byte(at);
  const Lead lead = lead_of(first);
  if (lead.size == 1) return {first, 1};
  if (lead.size == 0) return {kInvalid, 1};
  uint32_t character = first & (0x7F >> lead.size);
  for (int i = 1; i < lead.size; ++i) {
    if (at + i >= text.size()) return {kInvalid, i};
    const unsigned char next = byte(at + i);
    const unsigned char low = i == 1 ? lead.low : 0x80, high = i == 1 ? lead.high : 0xBF;
    if (next < low || next > high) return {kInvalid, i};
    character = character << 6 | (next & 0x3F);
  }
  return {character, lead.size};
}

void append_utf8(std::string& text, uint32_t character) {
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  if (character < 0x80) {
    put(character);
  } else if (character < 0x800) {
    put(0xC0 | character >> 6);
    put(0x80 | (character & 0x3F));
  } else if (character < 0x10000) {
    put(0xE0 | character >> 12);
    put(0x80 | (character >> 6 & 0x3F));
    put(0x80 | (character & 0x3F));
  } else {
    put(0xF0 | character >> 18);
    put(0x80 | (character >> 12 & 0x3F));
    put(0x80 | (character >> 6 & 0x3F));
    put(0x80 | (character & 0x3F));
  }
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Decoded decoded = decode_utf8(text, at);
    if (decoded.character == kInvalid) return false;
    at += decoded.size;
  }
  return true;
}

std::string replaced_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const Decoded decoded = decode_utf8(bytes, at);
    if (decoded.character == kInvalid) {
      append_utf8(text, kReplacement);
    } else {
      text.append(bytes.substr(at, decoded.size));
    }
    at += decoded.size;
  }
  return text;
}

}  // namespace lfm::core
