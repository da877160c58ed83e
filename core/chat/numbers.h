// Numbers as Python writes and reads them: +7, 007, 1_000, .5, 1e5, 0x1f.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"

namespace lfm::core {

// The end of the number that begins at `at`; `at` itself where none does, or where one runs into a
// word or a further point.
size_t number_end(std::u32string_view text, size_t at);

// Its value; none where Python reads none, or where JSON has none (1__0, 1e999).
std::optional<Json> number_value(std::u32string_view number);

}  // namespace lfm::core
