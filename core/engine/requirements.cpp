#include "engine/requirements.h"

#include <algorithm>
#include <set>
#include <string>

#include "base/error.h"
#include "bundle/python_text.h"
#include "engine/saturated.h"
#include "engine/state.h"
#include "lfm_ops/formats.h"
#include "lfm_ops/layout.h"

namespace lfm::core {
namespace {

constexpr const char* kOnnx = "onnx";
constexpr const char* kOnnxPortable = "onnx-portable";

bool is_taken(InputRole role) { return role != InputRole::kPosition && role != InputRole::kValid; }

void require_roles(const Bundle& bundle, const Graph& graph) {
  for (const Function& function : graph.functions) {
    for (int index = 0; index < kInputRoles; ++index) {
      const auto role = static_cast<InputRole>(index);
      const auto& port = function.port(role);
      if (!port || is_taken(role)) continue;
      throw Error(LFM_BUNDLE, bundle.folder() + ": " + function.name + " has a port " +
                                  python_ascii(*port) + " for " + name_of(role) +
                                  ", which graphs of target " + graph.target + " do not take");
    }
  }
}

// Of a cache that keeps the last positions alone: enough for a run, in whole blocks.
void require_slots(const Bundle& bundle, const StateTensor& tensor) {
  constexpr int64_t kBlock = 64;
  const int64_t least = saturated_sum(*tensor.window - 1, kPrefillChunk);
  if (tensor.slots() >= least && tensor.slots() % kBlock == 0) return;
  throw Error(LFM_BUNDLE, bundle.folder() + ": state " + tensor.name + ": keeps " +
                              std::to_string(tensor.slots()) +
                              " positions, expected a multiple of " + std::to_string(kBlock) +
                              " that is at least " + std::to_string(least) + ", for a window of " +
                              std::to_string(*tensor.window));
}

// A cache grows, unless it keeps a window's last positions.
void require_kinds(const Bundle& bundle, const Graph& graph) {
  const Function& ports = graph.functions[0];
  const bool anew = graph.target == kOnnx && ports.port(InputRole::kReplayedWindows);
  bool grows = false;
  for (const StateTensor& tensor : graph.state) {
    const auto axes = std::count(tensor.shape.begin(), tensor.shape.end(), kCapacity);
    const bool keeps_last = anew && tensor.kind != StateKind::kConv && tensor.window && axes == 0;
    if (keeps_last) require_slots(bundle, tensor);
    grows = grows || axes > 0;
    const int wanted = tensor.kind == StateKind::kConv || keeps_last ? 0 : 1;
    if (axes == wanted) continue;
    throw Error(LFM_BUNDLE, bundle.folder() + ": state " + tensor.name + ": " +
                                std::to_string(axes) + " axes grow with the capacity, expected " +
                                std::to_string(wanted) + " of kind " + name_of(tensor.kind));
  }
  if (anew && grows && !ports.port(InputRole::kReplayed)) {
    throw Error(LFM_BUNDLE, bundle.folder() + ": " + ports.name +
                                " has a port for replayed_windows and none for replayed, without "
                                "which caches that grow cannot be told");
  }
}

void require_ports(const Graph& graph) {
  for (const StateTensor& tensor : graph.state) {
    if (tensor.input && tensor.output) continue;
    throw Error(LFM_BUNDLE, "state " + tensor.name + ": an ONNX graph needs its input and output");
  }
}

void require_known(const Bundle& bundle, const WeightFormat& stored) {
  const LfmOpsFormat* const ours = lfm_ops_format_named(stored.name.c_str());
  if (ours != nullptr && ours->bits == stored.bits && ours->group_size == stored.group_size) {
    return;
  }
  throw Error(LFM_UNSUPPORTED_BUNDLE, bundle.folder() + ": weights of format " + stored.name +
                                          " (" + std::to_string(stored.bits) +
                                          " bits in groups of " +
                                          std::to_string(stored.group_size) +
                                          "), which this lfm-edge does not read; update it");
}

void require_method(const Bundle& bundle, const char* role, const std::string& method,
                    const std::set<std::string>& formats) {
  if (formats.count(method) > 0) return;
  std::string listed;
  for (const std::string& name : formats) listed += (listed.empty() ? "" : ", ") + name;
  throw Error(LFM_BUNDLE, bundle.folder() + ": quantization has the " + role + " " + method +
                              ", but formats are " + (listed.empty() ? "none" : listed));
}

void require_layout(const Bundle& bundle, bool packed) {
  const Manifest& manifest = bundle.manifest();
  const auto& version = manifest.quantization.layout_version;
  if (packed != version.has_value()) {
    throw Error(LFM_BUNDLE, bundle.folder() + ": layout_version is " +
                                (version ? std::to_string(*version) : "null") +
                                ", but weights of target " + manifest.graph.target + " lie in " +
                                (packed ? "a packed layout, which has one" : "none that has one"));
  }
  if (packed && *version != LFM_OPS_LAYOUT_VERSION) {
    throw Error(LFM_UNSUPPORTED_BUNDLE,
                bundle.folder() + ": weights in layout version " + std::to_string(*version) +
                    ", but the operators of this lfm-edge read " +
                    std::to_string(LFM_OPS_LAYOUT_VERSION) + "; export the bundle again");
  }
}

}  // namespace

bool has_our_operators(const Bundle& bundle) {
  const std::string& target = bundle.manifest().graph.target;
  if (target != kOnnx && target != kOnnxPortable) {
    throw Error(LFM_UNSUPPORTED_BUNDLE, bundle.folder() + ": target " + target +
                                            ", but this version of lfm-edge runs " + kOnnx + ", " +
                                            kOnnxPortable);
  }
  return target == kOnnx;
}

void require_onnx_graph(const Bundle& bundle) {
  const Graph& graph = bundle.manifest().graph;
  if (graph.functions.size() != 1 || !graph.functions[0].port(InputRole::kAttentionMask) ||
      graph.functions[0].tokens) {
    throw Error(LFM_BUNDLE, bundle.folder() +
                                ": an ONNX graph has one function, which takes an attention_mask "
                                "and any number of tokens; the manifest describes another");
  }
  require_roles(bundle, graph);
  require_kinds(bundle, graph);
  require_ports(graph);
}

void require_weights(const Bundle& bundle, bool packed) {
  const Quantization& weights = bundle.manifest().quantization;
  std::set<std::string> names;
  for (const WeightFormat& stored : weights.formats) {
    require_known(bundle, stored);
    names.insert(stored.name);
  }
  require_method(bundle, "method", weights.method, names);
  require_method(bundle, "head", weights.head, names);
  require_layout(bundle, packed);
}

void require_room(const Bundle& bundle, int64_t positions) {
  const int64_t promised = bundle.manifest().model.max_context;
  if (promised <= positions) return;
  throw Error(LFM_BUNDLE, bundle.graph_path() + ": has room for " + grouped(positions) +
                              " tokens, but " + kManifest + " says max_context " +
                              grouped(promised) + "; export the bundle again with that --context");
}

}  // namespace lfm::core
