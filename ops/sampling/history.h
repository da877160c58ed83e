// Which tokens have a score other than their logit, and why.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace lfm {

struct Adjusted {
  int32_t id;
  bool seen;       // in the prompt or the answer
  uint32_t count;  // in the answer
  float bias;
};

class History {
 public:
  explicit History(int32_t vocab_size) : places_(vocab_size, kNone) {}

  // The entry of a token, made if there is none; null for ids outside the vocabulary.
  Adjusted* entry(int32_t id) {
    if (id < 0 || static_cast<size_t>(id) >= places_.size()) return nullptr;
    if (places_[id] == kNone) {
      entries_.push_back({id, false, 0, 0.0f});
      places_[id] = static_cast<int32_t>(entries_.size()) - 1;
    }
    return &entries_[places_[id]];
  }

  // Puts the entries in the order of ids, so that one sweep over the logits meets them all; a few
  // new ones may wait behind the others.
  void sort() {
    if (entries_.size() - sorted_ <= kWaiting) return;
    std::sort(entries_.begin(), entries_.end(),
              [](const Adjusted& a, const Adjusted& b) { return a.id < b.id; });
    for (size_t i = 0; i < entries_.size(); ++i) places_[entries_[i].id] = static_cast<int32_t>(i);
    sorted_ = entries_.size();
  }

  // How many entries, from the first on, are in the order of ids.
  size_t sorted() const { return sorted_; }
  const std::vector<Adjusted>& entries() const { return entries_; }

 private:
  static constexpr int32_t kNone = -1;
  static constexpr size_t kWaiting = 128;
  std::vector<int32_t> places_;  // of each token's entry
  std::vector<Adjusted> entries_;
  size_t sorted_ = 0;
};

}  // namespace lfm
