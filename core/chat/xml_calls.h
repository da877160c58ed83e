// Reads calls written as LFM3 writes them, each in tags: <function=f><parameter=a>x</parameter>
// </function>. Where a value ends and what it is, says lfm_edge/chat/xml_calls.py.
#pragma once

#include <string_view>

#include "chat/calls.h"

namespace lfm::core {

// Whether a block begins as such calls do.
bool begins_as_xml(std::u32string_view text);

// Reads the calls of a block, or of several with their markers; one that cannot be read leaves its
// siblings. `closed`: whether the block's end marker came; where it did not, a call without its
// last tag may be cut off and is refused.
ParsedCalls parse_xml_calls(std::u32string_view text, const ToolNames& tools, bool closed);

}  // namespace lfm::core
