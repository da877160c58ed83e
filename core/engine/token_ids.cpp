#include "engine/token_ids.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace lfm::core {

size_t common(TokenIds held, TokenIds wanted) {
  const size_t least = std::min(held.size(), wanted.size());
  const auto differ = std::mismatch(held.begin(), held.begin() + least, wanted.begin());
  return static_cast<size_t>(differ.first - held.begin());
}

void require_ids(TokenIds ids, int64_t vocab_size) {
  if (ids.empty()) {
    throw Error(LFM_INVALID_REQUEST, "no tokens to read: got an empty list, expected at least one");
  }
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    throw Error(LFM_UNKNOWN_TOKEN, "token id " + std::to_string(id) +
                                       ": outside the vocabulary, expected 0 to " +
                                       std::to_string(vocab_size - 1));
  }
}

}  // namespace lfm::core
