#include "text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace lfm::core {

std::string StopFilter::push(std::string_view added) {
  if (stopped_) return {};
  std::string text = std::exchange(held_, {}).append(added);
  std::pair<size_t, size_t> first(text.npos, 0);  // its end, then its beginning
  for (const std::string& stop : stops_) {
    const size_t at = text.find(stop);
    if (at != text.npos) first = std::min(first, std::pair(at + stop.size(), at));
  }
  stopped_ = first.first != text.npos;
  const size_t passed = stopped_ ? first.second : text.size() - held_length(text);
  if (!stopped_) held_ = text.substr(passed);
  text.resize(passed);
  return text;
}

std::string StopFilter::finish() { return std::exchange(held_, {}); }

// Length of the longest end of `text` that could begin a stop string.
size_t StopFilter::held_length(const std::string& text) const {
  size_t longest = 0;
  for (const std::string& stop : stops_) longest = std::max(longest, stop.size() - 1);
  for (size_t length = std::min(longest, text.size()); length > 0; --length) {
    const std::string_view end = std::string_view(text).substr(text.size() - length);
    for (const std::string& stop : stops_) {
      if (std::string_view(stop).substr(0, length) == end) return length;
    }
  }
  return 0;
}

}  // namespace lfm::core
