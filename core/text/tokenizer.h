// Text to tokens by the tables of a device.bin, the same ids as the `tokenizers` library's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tables.h"

namespace lfm::core {

// Bytes of a text.
struct Range {
  size_t begin, end;
};

// A byte-level tokenizer. It copies nothing of its section, which must outlive it; it may be used
// by several threads. What is damaged in the tables is LFM_BUNDLE, here or where it is met.
class Tokenizer {
 public:
  explicit Tokenizer(std::string_view section);

  // With `special`, the texts of added tokens are those tokens, and what the post-processor puts
  // around a text is put around it; without, all of it is ordinary text. LFM_INVALID_REQUEST where
  // it is no UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool special) const;

  // The texts of added tokens are those tokens, but markers that begin within `theirs`, which is
  // sorted, are spelled out as ordinary text. LFM_INVALID_REQUEST where that cannot be.
  std::vector<int32_t> encode_prompt(std::string_view text, const std::vector<Range>& theirs) const;

  // The bytes that a token stands for; "" for one that it does not know.
  std::string_view bytes(int32_t id) const { return tables_.bytes(id); }
  bool knows(int32_t id) const { return tables_.is(id, kKnown); }
  // Whether it stands outside the byte-level vocabulary.
  bool is_added(int32_t id) const { return tables_.is(id, kAdded); }
  bool is_special(int32_t id) const { return tables_.is(id, kSpecial); }
  // The id of the added token with this text; -1: none.
  int32_t added_id(std::string_view text) const { return tables_.added_id(text); }
  // How many ids it knows, added tokens included.
  int32_t size() const { return tables_.size(); }
  // Tokens that a text has at least, as its length says.
  int64_t fewest(std::string_view text) const;

 private:
  Tables tables_;
};

}  // namespace lfm::core
