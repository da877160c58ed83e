// Byte-pair merging of one piece: of two neighbours that merge, those of the lowest rank first, of
// equal ones the leftmost.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tables.h"

namespace lfm::core {

class Merger {
 public:
  explicit Merger(const Tables& tables) : tables_(tables) {}

  // Appends the ids of a piece of fewer than 2**31 bytes.
  void append(std::string_view piece, std::vector<int32_t>& ids);

 private:
  // A part of the piece, and how it merges with the next one; a rank of kNone: it does not.
  struct Part {
    uint32_t id, rank, result;
    uint32_t previous, next;  // used by `merge_long` alone
  };

  void append_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void append_long(std::string_view piece, std::vector<int32_t>& ids);
  void set_pair(Part& left, uint32_t right) const;
  void set_pair_of(uint32_t at);

  const Tables& tables_;
  std::vector<Part> parts_;
  std::vector<uint64_t> queue_;  // rank and place of pairs, the lowest at the front
};

}  // namespace lfm::core
