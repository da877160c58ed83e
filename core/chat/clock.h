// The time that a template tells.
#pragma once

#include <string>
#include <string_view>

namespace lfm::core {

class Clock {
 public:
  // YYYY-MM-DDTHH:MM:SS; LFM_INVALID_REQUEST otherwise.
  explicit Clock(std::string_view text);

  // As Python's strftime in English; only for patterns of which `knows` is true.
  std::string told(std::string_view pattern) const;
  static bool knows(std::string_view pattern);

 private:
  std::string field(char directive) const;

  int year_, month_, day_, hour_, minute_, second_;
};

}  // namespace lfm::core
