// Cuts a text into the pieces that are merged apart from each other, as the regular expressions of
// Llama 3's and GPT-2's pre-tokenizers do.
#pragma once

#include <string_view>

#include "text/characters.h"
#include "text/tables.h"

namespace lfm::core {

class Pieces {
 public:
  // Of `text`, which is UTF-8.
  Pieces(const Tables& tables, std::string_view text);

  // Goes to the next one; false where there is none.
  bool next();
  std::string_view piece() const { return text_.substr(begin_, end_ - begin_); }

 private:
  size_t end_of_piece(size_t at) const;
  size_t end_of_contraction(size_t at) const;
  size_t end_of_spaces(size_t at) const;
  size_t end_of_numbers(size_t at) const;
  size_t end_of_others(size_t at) const;
  size_t end_of_run(size_t at, uint8_t kind) const;

  const std::string_view text_;
  const Characters characters_;
  const bool llama3_;
  const uint32_t most_digits_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace lfm::core
