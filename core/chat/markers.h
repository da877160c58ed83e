// The markers by which an LFM model structures its answer, and how they appear in its tokens.
//
// A marker that the tokenizer has as a special token is that token and nothing else: its text,
// spelled by other tokens, is text. A marker that it lacks is found in the text; but where it has
// those of calls of one model family, those of the other are text.
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
constexpr std::string_view kXmlCallStart = "<tool_call>";
constexpr std::string_view kXmlCallEnd = "</tool_call>";

class Markers {
 public:
  // `id_of(text)` is the id of the special token with this text, or negative.
  template <typename IdOf>
  static Markers of(const IdOf& id_of) {
    Markers markers;
    const auto found = [&](std::string_view marker) { return id_of(marker) >= 0; };
    const bool lfm2 = found(kCallStart) && found(kCallEnd);
    const bool lfm3 = found(kXmlCallStart) && found(kXmlCallEnd);
    markers.add(kThinkStart, id_of, true);
    markers.add(kThinkEnd, id_of, true);
    markers.add(kCallStart, id_of, !lfm3);
    markers.add(kCallEnd, id_of, !lfm3);
    markers.add(kXmlCallStart, id_of, !lfm2);
    markers.add(kXmlCallEnd, id_of, !lfm2);
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
  template <typename IdOf>
  void add(std::string_view marker, const IdOf& id_of, bool may_be_text) {
    const int64_t id = id_of(marker);
    if (id >= 0) {
      by_id_[id] = marker;
    } else if (may_be_text) {
      in_text_.push_back(marker);
    }
  }

  std::map<int64_t, std::string_view> by_id_;
  std::vector<std::string_view> in_text_;
};

// Whether a prompt ends in `<think>`, so that the answer starts in reasoning.
bool opens_reasoning(std::string_view prompt);

}  // namespace lfm::core
