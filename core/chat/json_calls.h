// Reads calls written as JSON, [{"name": "f", "arguments": {"a": 1}}], and its drifts: one object
// without a list, several in a row, OpenAI's form, parameters, args or input for arguments,
// arguments as a string that holds JSON, Python's literals, and {"f": {"a": 1}} of a known tool.
#pragma once

#include <string_view>

#include "chat/calls.h"

namespace lfm::core {

// Every object of `text` as a call. Objects count one by one, so a list that is cut off keeps its
// whole calls.
ParsedCalls parse_json_calls(std::u32string_view text, const ToolNames& tools);

}  // namespace lfm::core
