// A bundle's folder: where its files may lie, and which of them its graph is made of.
#pragma once

#include <optional>
#include <string>

#include "bundle/manifest.h"

namespace lfm::core {

bool is_folder(const std::string& path);

// Whether no link leads `path` out of `folder`, or only to the blobs of its Hub cache, where
// REPO/snapshots/COMMIT holds links to files in REPO/blobs.
bool stays_within(const std::string& folder, const std::string& path);

// The first file that the graph is made of, but that the manifest does not list: any in the graph's
// own folder, or one whose name an ONNX graph gives as the place of its weights.
std::optional<std::string> unlisted_of_graph(const std::string& folder, const Manifest& manifest);

}  // namespace lfm::core
