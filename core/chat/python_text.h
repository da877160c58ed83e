// How Python prints values, which is what templates do with those that are no text.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace lfm::core {

// "str", "int", "float", "bool", "list", "dict" or "null"; "missing" for a null pointer.
std::string_view kind_of(const Json* value);

// The name of its type in messages: "NoneType" for null.
std::string type_name(const Json& value);

// What `if` takes it for.
bool is_truthy(const Json* value);

// A string with its quotes, as repr() writes it.
std::string python_quoted(std::string_view text);

// A number, true, false or null, as repr() writes it and as json.dumps does.
std::string python_scalar(const Json& value);
std::string json_scalar(const Json& value);

// Whether str.isprintable() is true of a character, by Unicode 14.
bool is_printable(uint32_t character);

}  // namespace lfm::core
