#include "text/tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/added_tokens.h"
#include "text/characters.h"
#include "text/merger.h"
#include "text/splitter.h"

namespace lfm::core {
namespace {

using Ids = std::vector<int32_t>;

constexpr size_t kMostBytes = 0x7FFFFFFF;
constexpr uint32_t kInfo1 = 0x1F, kInfo4 = 0x1C;  // separators, spaces to Python alone

void require_text(std::string_view text) {
  if (text.size() > kMostBytes) {
    throw Error(LFM_INVALID_REQUEST, "the text has " +
                                         grouped(static_cast<long long>(text.size())) +
                                         " bytes, expected at most " + grouped(kMostBytes));
  }
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Decoded decoded = decode_utf8(text, at);
    if (decoded.character == kInvalid) {
      throw Error(LFM_INVALID_REQUEST,
                  "the text is not valid Unicode: no UTF-8 at byte " + std::to_string(at));
    }
    at += decoded.size;
  }
}

// Reads a text, part by part.
class Encoder {
 public:
  explicit Encoder(const Tables& tables) : tables_(tables), merger_(tables) {}

  void ordinary(std::string_view text) {
    for (Pieces pieces(tables_, text); pieces.next();) merger_.append(pieces.piece(), ids_);
  }

  void add(const View<uint32_t>& ids) {
    for (const uint32_t id : ids) add(id);
  }
  void add(uint32_t id) { ids_.push_back(tables_.checked(id)); }

  // What ordinary text reads as that is a marker's, character by character if need be: a vocabulary
  // may hold the marker's text as a whole.
  void spelled(std::string_view text) {
    const size_t before = ids_.size();
    ordinary(text);
    if (!has_marker(before)) return;
    ids_.resize(before);
    const Characters characters(tables_, text);
    for (size_t at = 0; at < text.size();) {
      const size_t next = characters.next(at);
      ordinary(text.substr(at, next - at));
      at = next;
    }
    if (has_marker(before)) refuse(text);
  }

  Ids ids() { return std::move(ids_); }

 private:
  bool has_marker(size_t from) const {
    return std::any_of(ids_.begin() + static_cast<std::ptrdiff_t>(from), ids_.end(),
                       [&](int32_t id) { return tables_.is(id, kMarker); });
  }

  [[noreturn]] static void refuse(std::string_view text) {
    throw Error(LFM_INVALID_REQUEST, "a user or a tool wrote '" + std::string(text) +
                                         "', a marker that the tokenizer makes of ordinary text "
                                         "too; remove it, or trust it");
  }

  const Tables& tables_;
  Merger merger_;
  Ids ids_;
};

// Where a token's own text begins: it may take the spaces before it along.
size_t own_begin(const Tables& tables, std::string_view text, const TextPart& part) {
  const Characters characters(tables, text.substr(0, part.end));
  for (size_t at = part.begin; at < part.end; at = characters.next(at)) {
    const unsigned char byte = static_cast<unsigned char>(text[at]);
    if (characters.kind(at) != kSpace && !(byte >= kInfo4 && byte <= kInfo1)) return at;
  }
  return part.begin;
}

bool lies_in(size_t at, const std::vector<Range>& ranges) {
  const auto behind =
      std::upper_bound(ranges.begin(), ranges.end(), at,
                       [](size_t place, const Range& r) { return place < r.begin; });
  return behind != ranges.begin() && at < std::prev(behind)->end;
}

}  // namespace

Tokenizer::Tokenizer(std::string_view section) : tables_(section) {}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool special) const {
  require_text(text);
  Encoder encoder(tables_);
  if (!special) {
    encoder.ordinary(text);
    return encoder.ids();
  }
  encoder.add(tables_.prefix());
  for (const TextPart& part : parts_of(tables_, text)) {
    if (part.token != nullptr) {
      encoder.add(part.token->id);
    } else {
      encoder.ordinary(text.substr(part.begin, part.end - part.begin));
    }
  }
  encoder.add(tables_.suffix());
  return encoder.ids();
}

std::vector<int32_t> Tokenizer::encode_prompt(std::string_view text,
                                              const std::vector<Range>& theirs) const {
  require_text(text);
  Encoder encoder(tables_);
  for (const TextPart& part : parts_of(tables_, text)) {
    const std::string_view own = text.substr(part.begin, part.end - part.begin);
    if (part.token == nullptr) {
      encoder.ordinary(own);
    } else if (tables_.is(static_cast<int32_t>(part.token->id), kMarker) &&
               lies_in(own_begin(tables_, text, part), theirs)) {
      encoder.spelled(own);
    } else {
      encoder.add(part.token->id);
    }
  }
  return encoder.ids();
}

int64_t Tokenizer::fewest(std::string_view text) const {
  const auto characters =
      std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; });
  return static_cast<int64_t>(characters) / tables_.longest();
}

}  // namespace lfm::core
