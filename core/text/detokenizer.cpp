#include "text/detokenizer.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace lfm::core {
namespace {

// Where an unfinished character begins that `bytes` end with; their size where none does.
size_t whole_characters(std::string_view bytes) {
  const size_t first = bytes.size() - std::min<size_t>(bytes.size(), 3);
  for (size_t at = first; at < bytes.size(); ++at) {
    const unsigned char byte = static_cast<unsigned char>(bytes[at]);
    const bool begins = byte >= 0xC2 && byte <= 0xF4;
    const Decoded decoded = decode_utf8(bytes, at);
    if (begins && decoded.character == kInvalid && at + decoded.size == bytes.size()) return at;
  }
  return bytes.size();
}

}  // namespace

Detokenizer::Detokenizer(const Tokenizer& tokenizer, std::vector<int32_t> skip)
    : tokenizer_(tokenizer), skip_(std::move(skip)) {}

std::string Detokenizer::push(int32_t id) {
  if (std::find(skip_.begin(), skip_.end(), id) != skip_.end()) return "";
  rest_ += token_bytes(id);
  const size_t end = whole_characters(rest_);
  const std::string text = replaced_utf8(std::string_view(rest_).substr(0, end));
  rest_.erase(0, end);
  return text;
}

std::string Detokenizer::finish() {
  const std::string text = replaced_utf8(rest_);
  rest_.clear();
  return text;
}

std::string Detokenizer::token_bytes(int32_t id) const {
  if (!tokenizer_.knows(id)) return "<|" + std::to_string(id) + "|>";
  return std::string(tokenizer_.bytes(id));
}

}  // namespace lfm::core
