#include "bundle/python_text.h"

#include <cstdio>

#include "base/utf8.h"

namespace lfm::core {
namespace {

std::string escaped(uint32_t character) {
  const char* const form = character < 0x100     ? "\\x%02x"
                           : character < 0x10000 ? "\\u%04x"
                                                 : "\\U%08x";
  char text[16];
  std::snprintf(text, sizeof text, form, static_cast<unsigned>(character));
  return text;
}

}  // namespace

std::string python_ascii(std::string_view text) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  std::string written(1, quote);
  for (size_t at = 0; at < text.size();) {
    const Decoded decoded = decode_utf8(text, at);
    at += decoded.size;
    const uint32_t c = decoded.character == kInvalid ? kReplacement : decoded.character;
    if (c == static_cast<uint32_t>(quote) || c == '\\') {
      written += '\\';
      written += static_cast<char>(c);
    } else if (c == '\n') {
      written += "\\n";
    } else if (c == '\r') {
      written += "\\r";
    } else if (c == '\t') {
      written += "\\t";
    } else if (c < 0x20 || c > 0x7E) {
      written += escaped(c);
    } else {
      written += static_cast<char>(c);
    }
  }
  return written + quote;
}

}  // namespace lfm::core
