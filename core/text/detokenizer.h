// Tokens to text, piece by piece, with whole characters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace lfm::core {

// Holds back the bytes of unfinished characters; bytes that are no UTF-8 become U+FFFD. The
// tokenizer must outlive it.
class Detokenizer {
 public:
  // Ids of `skip` give no text.
  explicit Detokenizer(const Tokenizer& tokenizer, std::vector<int32_t> skip = {});

  // The characters that a token completes; may be none.
  std::string push(int32_t id);
  // What is left at the end: U+FFFD for an unfinished character, or nothing.
  std::string finish();
  // The bytes that a token stands for, skipped or not; an unknown one reads <|id|>.
  std::string token_bytes(int32_t id) const;

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> skip_;
  std::string rest_;
};

}  // namespace lfm::core
