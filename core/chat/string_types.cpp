#include "chat/string_types.h"

#include <algorithm>

#include "base/utf8.h"

namespace lfm::core {
namespace {

struct Types {
  std::set<std::string> texts;  // the strings that are listed
  bool string = false, null = false, other = false;
};

void add_type(const Json& name, Types& types) {
  if (!name.is_string()) return;
  types.null |= name == Json("null");
  types.string |= name == Json("string");
  types.other |= name != Json("string") && name != Json("null");
}

// The types that a part of a schema names.
Types named_types(const Json& named) {
  Types types;
  add_type(named, types);
  for (const Json& name : named.array()) add_type(name, types);
  return types;
}

void add_value(const Json& value, bool texts, Types& types) {
  if (value.is_string() && texts) types.texts.insert(value.string());
  types.null |= value.is_null();
  types.other |= !value.is_string() && !value.is_null();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Without the percent signs of a URI.
std::string unquoted(std::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool quoted = text[at] == '%' && at + 2 < text.size() && hex_digit(text[at + 1]) >= 0 &&
                        hex_digit(text[at + 2]) >= 0;
    bytes += quoted ? static_cast<char>(16 * hex_digit(text[at + 1]) + hex_digit(text[at + 2]))
                    : text[at];
    if (quoted) at += 2;
  }
  return replaced_utf8(bytes);
}

std::string replaced(std::string text, std::string_view from, char to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + 1)) {
    text.replace(at, from.size(), 1, to);
  }
  return text;
}

// What a step of a JSON pointer leads to, or null.
const Json& step_into(const Json& part, const std::string& name) {
  static const Json null;
  if (!part.is_array()) return part[name];
  const bool index = !name.empty() && name.size() < 10 && (name == "0" || name[0] != '0') &&
                     name.find_first_not_of("0123456789") == name.npos;
  if (!index) return null;
  const size_t at = std::stoul(name);
  return at < part.array().size() ? part.array()[at] : null;
}

// The part of the whole schema that a reference names by a JSON pointer (RFC 6901), or null.
const Json& definition(const std::string& reference, const Json& root) {
  static const Json null;
  if (reference.empty() || reference[0] != '#') return null;
  const std::string pointer = unquoted(std::string_view(reference).substr(1));
  if (!pointer.empty() && pointer[0] != '/') return null;
  const Json* part = &root;
  for (size_t at = 0; at < pointer.size();) {
    const size_t end = std::min(pointer.find('/', at + 1), pointer.size());
    const std::string name = pointer.substr(at + 1, end - at - 1);
    part = &step_into(*part, replaced(replaced(name, "~1", '/'), "~0", '~'));
    at = end;
  }
  return *part;
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
    const Types named = named_types(part["type"]);
    types.null |= named.null;
    if (part["enum"].is_array() || part.has("const")) {
      const bool texts = named.string || !(named.null || named.other);
      for (const Json& value : part["enum"].array()) add_value(value, texts, types);
      if (part.has("const")) add_value(part["const"], texts, types);
    } else {
      types.string |= named.string;
      types.other |= named.other;
    }
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

}  // namespace

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

}  // namespace lfm::core
