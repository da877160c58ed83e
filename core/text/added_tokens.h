// Finds the added tokens of a text before it is split.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "text/tables.h"

namespace lfm::core {

// Bytes of a text: an added token with the spaces that it takes along, or what lies between two.
struct TextPart {
  size_t begin, end;
  const AddedToken* token;  // null: ordinary text
};

// The parts of `text`, which is UTF-8. Of tokens that begin at one place the longest counts.
std::vector<TextPart> parts_of(const Tables& tables, std::string_view text);

}  // namespace lfm::core
