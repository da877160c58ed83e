// The inputs and outputs that a loaded graph has, held to what the manifest says of them.
#pragma once

#include "bundle/bundle.h"
#include "engine/ort.h"

namespace lfm::core {

// LFM_BUNDLE: a port is missing, too many, of another type, or in another place than its tensor; or
// the graph has no room for the manifest's context. Names the first.
void require_signature(const Ort& ort, const OrtSession& session, const Bundle& bundle);

}  // namespace lfm::core
