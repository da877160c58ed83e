// Text as Python writes it, where messages and digests have it so.
#pragma once

#include <string>
#include <string_view>

namespace lfm::core {

// In quotes, as Python's ascii() does: repr() with characters beyond ASCII as escapes.
std::string python_ascii(std::string_view text);

}  // namespace lfm::core
