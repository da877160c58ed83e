// The tools that a model has, as far as reading its calls asks for them.
#pragma once

#include "base/json.h"
#include "chat/calls.h"

namespace lfm::core {

// The names of tools, a list in OpenAI's form or null, and those of their parameters. Throws
// LFM_INVALID_REQUEST: one is malformed. Of a schema only the parts that count here are checked.
ToolNames tool_names(const Json& tools);

}  // namespace lfm::core
