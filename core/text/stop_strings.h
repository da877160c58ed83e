// Ends a stream of text at a stop string, and never lets any part of it out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm::core {

// Passes text on until a stop string is complete. The one that ends first counts; of several that
// end there, the longest. So the result does not depend on how the text was cut into pieces.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // The text that can no longer be part of a stop string.
  std::string push(std::string_view text);

  // The text that was held back, when the stream ends without a stop string.
  std::string finish();

  // Whether a stop string has appeared; nothing comes out after it.
  bool stopped() const { return stopped_; }

 private:
  size_t held_length(const std::string& text) const;

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace lfm::core
