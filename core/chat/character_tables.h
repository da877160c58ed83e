// Characters beyond ASCII by what Python counts them as, in rising ranges.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lfm::core {

struct CharacterRange {
  uint32_t first, last;
};

extern const CharacterRange kWordRanges[];
extern const size_t kWordCount;
extern const CharacterRange kDecimalRanges[];
extern const size_t kDecimalCount;

}  // namespace lfm::core
