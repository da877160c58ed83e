// Which parameters of a tool take strings: where calls stand in tags, only the schema can tell.
#pragma once

#include <map>
#include <string>

#include "base/json.h"
#include "chat/calls.h"

namespace lfm::core {

// Of a tool's JSON Schema; what is malformed in it says nothing.
std::map<std::string, StringValues> strings_of(const Json& parameters);

}  // namespace lfm::core
