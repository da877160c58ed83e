// A tool call of the model's, read or refused.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace lfm::core {

// Each known tool's parameter names; none where it takes names that its schema does not list.
using ToolNames = std::map<std::string, std::optional<std::set<std::string>>>;

struct ToolCall {
  std::string name;  // dots included
  Json arguments;    // an object, in the order written

  bool operator==(const ToolCall& other) const {
    return name == other.name && arguments == other.arguments;
  }
};

// Text that stood where a call belongs and that no call could be read from.
struct InvalidToolCall {
  std::string text;   // what the model wrote
  std::string error;  // one line that the model can be told
};

// What a block of calls holds; a bad call leaves its siblings.
struct ParsedCalls {
  std::vector<ToolCall> calls;
  std::vector<InvalidToolCall> errors;
};

}  // namespace lfm::core
