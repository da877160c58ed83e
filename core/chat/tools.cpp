#include "chat/tools.h"

#include "base/error.h"
#include "base/utf8.h"
#include "chat/bracket_calls.h"
#include "chat/characters.h"

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

struct Types {
  std::set<std::string> texts;  // the strings that are listed
  bool string = false, null = false, other = false;
};

void add_type(const Json& name, bool listed, Types& types) {
  if (!name.is_string()) return;
  types.null |= name == Json("null");
  if (listed) return;
  types.string |= name == Json("string");
  types.other |= name != Json("string") && name != Json("null");
}

void add_value(const Json& value, Types& types) {
  if (value.is_string()) types.texts.insert(value.string());
  types.null |= value.is_null();
  types.other |= !value.is_string() && !value.is_null();
}

// The definition of the whole schema that a part refers to, or null.
const Json& definition(const std::string& reference, const Json& root) {
  for (const char* key : {"$defs", "definitions"}) {
    const std::string beginning = std::string("#/") + key + "/";
    if (reference.compare(0, beginning.size(), beginning) == 0) {
      return root[key][reference.substr(beginning.size())];
    }
  }
  static const Json null;
  return null;
}

// What a part of a schema allows by name or by value; a list of values counts instead of names.
Types types_of(const Json& schema, const Json& root) {
  Types types;
  std::set<std::string> seen;  // the references that were followed
  std::vector<const Json*> parts{&schema};
  while (!parts.empty()) {
    const Json& part = *parts.back();
    parts.pop_back();
    if (!part.is_object()) continue;
    const Json& named = part["type"];
    const bool listed = part["enum"].is_array() || part.has("const");
    if (!named.is_array()) add_type(named, listed, types);
    for (const Json& name : named.array()) add_type(name, listed, types);
    for (const Json& value : part["enum"].array()) add_value(value, types);
    if (part.has("const")) add_value(part["const"], types);
    for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
      for (const Json& choice : part[keyword].array()) parts.push_back(&choice);
    }
    const Json& reference = part["$ref"];
    if (reference.is_string() && seen.insert(reference.string()).second) {
      parts.push_back(&definition(reference.string(), root));
    }
  }
  return types;
}

// The parameters that take strings.
std::map<std::string, StringValues> strings_of(const Json& parameters) {
  std::map<std::string, StringValues> strings;
  for (const Json::Member& member : parameters["properties"].object()) {
    Types types = types_of(member.second, parameters);
    if (!types.string && types.texts.empty()) continue;
    const bool others = types.other && !types.string;
    strings[member.first] = {std::move(types.texts), types.null, others};
  }
  return strings;
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
