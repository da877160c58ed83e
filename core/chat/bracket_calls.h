// Reads calls written as LFM's templates render them: [fn(a='x', n=3), ns.other()].
//
// Where a string ends: templates put an argument's string between quotes and escape nothing, so its
// text may hold quotes, brackets and whole calls. A quote can end a string only where the call can
// go on: before `, name=`, before `)` and another call, or before `)]` at the very end. Of these
// places, those count from which its own call reads to its `)`, and the string ends at the first
// from which all that follows reads, or that leaves no bracket open in the string. What remains
// ambiguous the names of the tools resolve. A backslash stands for itself, unless one stands before
// a quote and no quote of the string's own kind stands bare: then the model escapes.
//
// lfm_edge/chat/bracket_calls.py says it at length. Reading takes time in proportion to the text:
// what is read ahead to find a string's end is remembered and bounded.
#pragma once

#include <string_view>

#include "chat/calls.h"

namespace lfm::core {

// The calls of `text`; one that cannot be read leaves its siblings. Where the block was not
// `closed` by its marker, and no ] closes the list, the last call may be cut off and is refused.
ParsedCalls parse_bracket_calls(std::u32string_view text, const ToolNames& tools, bool closed);

// Whether a tool may have this name: one that a call can be written with.
bool is_function_name(std::u32string_view name);

}  // namespace lfm::core
