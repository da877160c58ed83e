// A tool call of the model's, read or refused.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace lfm::core {

// What a parameter may be that takes strings.
struct StringValues {
  std::set<std::string> texts;  // those that its schema lists
  bool null = false;            // whether null may stand there instead
  bool others = false;  // whether text that is not listed can only be a value of another type
};

// What the schema of a known tool says of its parameters.
struct ToolParameters {
  // Their names; none where the tool takes names that its schema does not list.
  std::optional<std::set<std::string>> names;
  // Those that take strings.
  std::map<std::string, StringValues> strings;
};

// The known tools.
using ToolNames = std::map<std::string, ToolParameters>;

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
