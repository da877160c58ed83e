// From what a model wrote to the tool calls it asks for.
#pragma once

#include <string_view>
#include <vector>

#include "chat/calls.h"

namespace lfm::core {

// Every call in an answer that can be read. Calls stand between their markers; an answer that is
// nothing but a list of calls, behind its reasoning, counts as one without them.
std::vector<ToolCall> parse_tool_calls(std::string_view text, const ToolNames& tools);

}  // namespace lfm::core
