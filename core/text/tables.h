// The tables of a tokenizer as they lie in the section "tokenizer" of a device.bin
// (docs/bundle.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lfm::core {

// What is known of a token.
enum TokenFlag : uint8_t { kKnown = 1, kAdded = 2, kSpecial = 4, kMarker = 8 };

// What is known of a character.
enum CharacterClass : uint8_t {
  kOther = 0,
  kLetter = 1,
  kNumber = 2,
  kSpace = 3,
  kKind = 3,     // the bits of the above
  kInWord = 4,   // what stands beside a single_word token and is of its word
  kStripped = 8  // what lstrip and rstrip take along
};

// How a text is split before its pieces are merged.
enum class Splitter : uint32_t { kLlama3 = 1, kGpt2 = 2 };

[[noreturn]] void tables_are_damaged(const char* what);

// An array within the section.
template <class T>
struct View {
  const T* data = nullptr;
  size_t size = 0;

  const T& operator[](size_t at) const { return data[at]; }
  const T* begin() const { return data; }
  const T* end() const { return data + size; }
};

// A word that is one token whatever its merges: its bytes' hash and the token.
struct Word {
  uint32_t hash, id;
};

struct Merge {
  uint32_t left, right, rank, result;
};

// A token found in a text before it is split. Those of one pass are sorted by their bytes; `parent`
// is the longest other one that this one begins with.
struct AddedToken {
  uint32_t id, flags, parent, offset, size;
};
enum AddedFlag : uint32_t { kSingleWord = 1, kStripLeft = 2, kStripRight = 4 };

constexpr uint32_t kNone = 0xFFFFFFFF;

class Tables {
 public:
  // LFM_BUNDLE where an array leaves the section or offsets leave their array.
  explicit Tables(std::string_view section);

  int32_t size() const { return static_cast<int32_t>(size_); }
  uint32_t longest() const { return longest_; }
  Splitter splitter() const { return splitter_; }
  // The most digits in a piece; 0: no bound.
  uint32_t most_digits() const { return most_digits_; }

  std::string_view bytes(int32_t id) const;
  bool is(int32_t id, TokenFlag flag) const {
    return id >= 0 && static_cast<size_t>(id) < flags_.size && (flags_[id] & flag) != 0;
  }
  int32_t added_id(std::string_view text) const;

  uint32_t byte_id(unsigned char byte) const { return byte_ids_[byte]; }
  // The token of a whole piece; kNone: it must be merged.
  uint32_t word(std::string_view bytes) const;
  // How two neighbours merge; null: they do not.
  const Merge* merge(uint32_t left, uint32_t right) const;
  // Of any character up to U+10FFFF.
  uint8_t character(uint32_t code) const {
    return classes_[size_t{blocks_[code >> 8]} << 8 | (code & 0xFF)];
  }
  // Added tokens of the first pass over a text, and of the second over what the first left.
  const View<AddedToken>& added(int pass) const { return added_[pass]; }
  std::string_view text(const AddedToken& token) const {
    return {added_texts_.data + token.offset, token.size};
  }
  const View<uint32_t>& prefix() const { return prefix_; }
  const View<uint32_t>& suffix() const { return suffix_; }
  // `id` as a token that the tables know the place of; LFM_BUNDLE otherwise.
  int32_t checked(uint32_t id) const {
    if (id >= flags_.size) tables_are_damaged("a token's id is out of range");
    return static_cast<int32_t>(id);
  }

 private:
  void check() const;
  void check_added(const View<AddedToken>& tokens) const;

  Splitter splitter_;
  uint32_t most_digits_, size_, longest_, word_probes_, merge_probes_;
  View<uint32_t> offsets_;
  View<char> bytes_;
  View<uint8_t> flags_;
  View<uint32_t> byte_ids_;
  View<Word> words_;
  View<Merge> merges_;
  View<uint16_t> blocks_;
  View<uint8_t> classes_;
  View<AddedToken> added_[2];
  View<char> added_texts_;
  View<uint32_t> prefix_, suffix_;
};

}  // namespace lfm::core
