// Reads the text in which calls stand, in whichever of LFM's forms it is: in brackets, or as JSON
// when the system prompt asks for it, or in tags. How a block begins tells which.
#pragma once

#include <string_view>

#include "chat/calls.h"

namespace lfm::core {

// Reads what stands between two markers; [] holds no call. `closed`: whether the end marker came.
ParsedCalls parse_block(std::string_view text, const ToolNames& tools, bool closed = true);

// Reads an answer without markers: its calls if it is nothing else, or none. Where the tools are
// known, each call must name one of them; where not, JSON must have the shape of a call.
ParsedCalls parse_unmarked(std::string_view text, const ToolNames& tools);

}  // namespace lfm::core
