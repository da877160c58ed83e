#include "chat/tools.h"

#include "base/error.h"
#include "base/utf8.h"
#include "chat/bracket_calls.h"
#include "chat/characters.h"
#include "chat/string_types.h"

namespace lfm::core {
namespace {

constexpr const char* kOpenKeywords[] = {"$ref",  "allOf", "anyOf",
                                         "oneOf", "if",    "patternProperties"};

Error invalid(const std::string& message) { return {LFM_INVALID_REQUEST, message}; }

// In one line, of at most 80 characters.
std::string beginning(const Json& value) {
  std::u32string line;
  const std::u32string text =
      to_characters(value.is_string() ? value.string() : python_json(value));
  for (const char32_t c : stripped(text)) {
    if (!is_space(c)) {
      line += c;
    } else if (line.back() != ' ') {
      line += ' ';
    }
  }
  return to_utf8(std::u32string_view(line).substr(0, 80));
}

bool is_closed(const Json& parameters) {
  const Json& additional = parameters["additionalProperties"];
  if (additional.is_bool() && !additional.boolean()) return true;
  if (parameters.has("additionalProperties")) return false;
  for (const char* keyword : kOpenKeywords) {
    if (parameters.has(keyword)) return false;
  }
  return true;
}

void check_parameters(const std::string& name, const Json& parameters) {
  if (parameters.is_null()) return;
  const std::string where = "tool " + name + ": parameters: ";
  if (!parameters.is_object()) throw invalid(where + "expected a JSON Schema");
  const Json& type = parameters["type"];
  if (parameters.has("type") && type != Json("object")) {
    throw invalid(where + "got type " + python_repr(type) + ", expected 'object'");
  }
}

std::optional<std::set<std::string>> parameter_names(const Json& parameters) {
  if (!is_closed(parameters)) return std::nullopt;
  std::set<std::string> names;
  for (const Json::Member& member : parameters["properties"].object()) names.insert(member.first);
  return names;
}

}  // namespace

ToolNames tool_names(const Json& tools) {
  if (!tools.is_null() && !tools.is_array()) {
    throw invalid("tools: expected a list of JSON Schemas of functions");
  }
  ToolNames names;
  for (const Json& tool : tools.array()) {
    const Json& inner = tool.has("function") ? tool["function"] : tool;
    if (!inner.is_object() || !inner["name"].is_string()) {
      throw invalid(
          "tools: expected {\"type\": \"function\", \"function\": {\"name\": ..., "
          "\"parameters\": ...}}, got " +
          beginning(tool));
    }
    const std::string& name = inner["name"].string();
    if (!is_function_name(to_characters(name))) {
      throw invalid("tool " + python_repr(inner["name"]) +
                    ": expected a name of letters, digits, _, -, ., / and :");
    }
    check_parameters(name, inner["parameters"]);
    names[name] = {parameter_names(inner["parameters"]), strings_of(inner["parameters"])};
  }
  return names;
}

}  // namespace lfm::core
