// The markers by which an LFM model structures its answer, and how they appear in its tokens.
//
// A marker that the tokenizer has as a special token is that token and nothing else: its text,
// spelled by other tokens, is text. A marker that it lacks is found in the text.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

namespace lfm::core {

constexpr std::string_view kThinkStart = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr std::string_view kCallStart = "<|tool_call_start|>";
constexpr std::string_view kCallEnd = "<|tool_call_end|>";
constexpr std::string_view kMarkers[] = {kThinkStart, kThinkEnd, kCallStart, kCallEnd};

class Markers {
 public:
  // `id_of(text)` is the id of the special token with this text, or negative.
  template <typename IdOf>
  static Markers of(const IdOf& id_of) {
    Markers markers;
    for (const std::string_view marker : kMarkers) {
      const int64_t id = id_of(marker);
      if (id >= 0) {
        markers.by_id_[id] = marker;
      } else {
        markers.in_text_.push_back(marker);
      }
    }
    return markers;
  }

  // Of a text alone, in which all are found.
  static Markers none() {
    return of([](std::string_view) { return -1; });
  }

  // The marker that a token is, or "".
  std::string_view of_token(int64_t id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? std::string_view() : found->second;
  }

  const std::vector<std::string_view>& in_text() const { return in_text_; }

 private:
  std::map<int64_t, std::string_view> by_id_;
  std::vector<std::string_view> in_text_;
};

// Whether a prompt ends in `<think>`, so that the answer starts in reasoning.
bool opens_reasoning(std::string_view prompt);

}  // namespace lfm::core
