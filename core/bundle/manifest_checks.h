// What a manifest must hold to besides its types.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "bundle/manifest.h"

namespace lfm::core {

// Reads the version first: a newer manifest may differ in everything else. File names come next,
// for an error that shows the name.
void check_outline(const std::string& path, const Json& json);

// The graph's file, names that would stand for two things, and the golden vectors' sizes.
void check_contents(const std::string& path, const Manifest& manifest);

// Whether a bundle's file may have this name: a path of plain names.
bool is_bundle_path(std::string_view path);

}  // namespace lfm::core
