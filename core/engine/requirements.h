// What a manifest says, held to what this version runs, before the graph is loaded.
#pragma once

#include <cstdint>

#include "bundle/bundle.h"

namespace lfm::core {

// Whether its graph is one of our operators. LFM_UNSUPPORTED_BUNDLE: a target that is not run here.
bool has_our_operators(const Bundle& bundle);

// LFM_BUNDLE: the manifest describes no ONNX graph, names a port of another role, or a state tensor
// is not of its kind.
void require_onnx_graph(const Bundle& bundle);

// Formats and layout of the weights. LFM_UNSUPPORTED_BUNDLE: this version does not read them.
// LFM_BUNDLE: they do not fit together.
void require_weights(const Bundle& bundle, bool packed);

// LFM_BUNDLE: the manifest promises more than these positions, which the graph has room for.
void require_room(const Bundle& bundle, int64_t positions);

}  // namespace lfm::core
