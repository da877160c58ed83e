#include "text/tables.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "text/hashing.h"

namespace lfm::core {
namespace {

constexpr uint32_t kVersion = 1;
constexpr size_t kCharacters = 0x110000;
constexpr size_t kPage = 256;
constexpr uint32_t kMostProbes = 4096;
constexpr size_t kMostTokens = 1 << 24;

struct Head {
  uint32_t version, splitter, most_digits, size, longest, word_probes, merge_probes, zero;
};

struct Place {
  uint32_t offset, size;
};

// Gives the arrays of a section in their order.
class Reader {
 public:
  explicit Reader(std::string_view section) : section_(section) {
    if (reinterpret_cast<uintptr_t>(section.data()) % 8 != 0) {
      tables_are_damaged("they are not aligned");
    }
  }

  Head head() {
    if (section_.size() < sizeof(Head)) tables_are_damaged("they are cut off");
    Head head;
    std::memcpy(&head, section_.data(), sizeof(Head));
    next_ = sizeof(Head);
    return head;
  }

  template <class T>
  View<T> array() {
    Place place;
    if (section_.size() - next_ < sizeof(Place)) tables_are_damaged("they are cut off");
    std::memcpy(&place, section_.data() + next_, sizeof(Place));
    next_ += sizeof(Place);
    if (place.offset % alignof(T) != 0 || place.size % sizeof(T) != 0 ||
        place.offset > section_.size() || place.size > section_.size() - place.offset) {
      tables_are_damaged("an array leaves them");
    }
    return {reinterpret_cast<const T*>(section_.data() + place.offset), place.size / sizeof(T)};
  }

 private:
  std::string_view section_;
  size_t next_ = 0;
};

void require(bool holds, const char* what) {
  if (!holds) tables_are_damaged(what);
}

}  // namespace

void tables_are_damaged(const char* what) {
  throw Error(LFM_BUNDLE, std::string("the tokenizer's tables are damaged: ") + what +
                              "; export the bundle again");
}

Tables::Tables(std::string_view section) {
  Reader reader(section);
  const Head head = reader.head();
  if (head.version != kVersion) {
    throw Error(LFM_UNSUPPORTED_BUNDLE,
                "the tokenizer's tables have version " + std::to_string(head.version) +
                    ", but this program reads version " + std::to_string(kVersion));
  }
  require(head.splitter == 1 || head.splitter == 2, "no such splitter");
  require(head.word_probes <= kMostProbes && head.merge_probes <= kMostProbes, "too many probes");
  require(head.size <= kMostTokens && head.longest > 0, "a size is out of range");
  splitter_ = static_cast<Splitter>(head.splitter);
  most_digits_ = head.most_digits;
  size_ = head.size;
  longest_ = head.longest;
  word_probes_ = head.word_probes;
  merge_probes_ = head.merge_probes;
  offsets_ = reader.array<uint32_t>();
  bytes_ = reader.array<char>();
  flags_ = reader.array<uint8_t>();
  byte_ids_ = reader.array<uint32_t>();
  words_ = reader.array<Word>();
  merges_ = reader.array<Merge>();
  blocks_ = reader.array<uint16_t>();
  classes_ = reader.array<uint8_t>();
  for (View<AddedToken>& pass : added_) pass = reader.array<AddedToken>();
  added_texts_ = reader.array<char>();
  prefix_ = reader.array<uint32_t>();
  suffix_ = reader.array<uint32_t>();
  check();
}

void Tables::check() const {
  require(flags_.size <= kMostTokens && offsets_.size == flags_.size + 1,
          "tokens and their places");
  require(byte_ids_.size == 256, "bytes without a token");
  require(words_.size > 0 && words_.size <= kNone && merges_.size > 0 && merges_.size <= kNone,
          "empty tables");
  require(std::is_sorted(offsets_.begin(), offsets_.end()) && offsets_[flags_.size] <= bytes_.size,
          "the bytes of a token");
  require(blocks_.size == kCharacters / kPage, "pages of characters");
  const size_t pages = classes_.size / kPage;
  require(
      std::all_of(blocks_.begin(), blocks_.end(), [&](uint16_t block) { return block < pages; }),
      "a page of characters");
  for (const View<AddedToken>& pass : added_) check_added(pass);
}

void Tables::check_added(const View<AddedToken>& tokens) const {
  for (size_t i = 0; i < tokens.size; ++i) {
    const AddedToken& token = tokens[i];
    require(token.size > 0 && token.offset <= added_texts_.size &&
                token.size <= added_texts_.size - token.offset,
            "the text of an added token");
    require(token.parent == kNone || token.parent < i, "an added token's parent");
    require(token.id < flags_.size, "an added token's id");
    require(i == 0 || text(tokens[i - 1]) < text(token), "added tokens out of order");
  }
}

std::string_view Tables::bytes(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= flags_.size) return {};
  return {bytes_.data + offsets_[id], offsets_[id + 1] - offsets_[id]};
}

uint32_t Tables::word(std::string_view bytes) const {
  const uint64_t hash = hash_of_bytes(bytes);
  size_t slot = first_slot(hash, words_.size);
  for (uint32_t probe = 0; probe < word_probes_; ++probe) {
    const Word& word = words_[slot];
    if (word.id == kNone) return kNone;
    if (word.hash == static_cast<uint32_t>(hash) && this->bytes(checked(word.id)) == bytes) {
      return word.id;
    }
    if (++slot == words_.size) slot = 0;
  }
  return kNone;
}

const Merge* Tables::merge(uint32_t left, uint32_t right) const {
  size_t slot = first_slot(hash_of_pair(left, right), merges_.size);
  for (uint32_t probe = 0; probe < merge_probes_; ++probe) {
    const Merge& merge = merges_[slot];
    if (merge.rank == kNone) return nullptr;
    if (merge.left == left && merge.right == right) return &merge;
    if (++slot == merges_.size) slot = 0;
  }
  return nullptr;
}

int32_t Tables::added_id(std::string_view wanted) const {
  for (const View<AddedToken>& pass : added_) {
    const AddedToken* found = std::lower_bound(
        pass.begin(), pass.end(), wanted,
        [&](const AddedToken& token, std::string_view other) { return text(token) < other; });
    if (found != pass.end() && text(*found) == wanted) return static_cast<int32_t>(found->id);
  }
  return -1;
}

}  // namespace lfm::core
