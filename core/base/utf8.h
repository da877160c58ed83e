// UTF-8, read with care: nothing reads beyond the end, and what is invalid is said or replaced.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lfm::core {

constexpr uint32_t kReplacement = 0xFFFD;
constexpr uint32_t kInvalid = 0xFFFFFFFF;

// The character that begins at `at`, and how many bytes it takes. Where none begins: kInvalid, and
// the bytes of the longest beginning of one (at least 1), as Python's "replace" counts them.
struct Decoded {
  uint32_t character;
  int size;
};
Decoded decode_utf8(std::string_view text, size_t at);

void append_utf8(std::string& text, uint32_t character);

bool is_utf8(std::string_view text);

// Each invalid part as U+FFFD, as Python's bytes.decode("utf-8", "replace").
std::string replaced_utf8(std::string_view bytes);

}  // namespace lfm::core
