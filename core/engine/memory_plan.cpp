#include "engine/memory_plan.h"

#include <algorithm>
#include <string>

#include "engine/requirements.h"
#include "engine/runtime.h"
#include "engine/saturated.h"
#include "engine/state.h"

namespace lfm::core {
namespace {

// ONNX Runtime itself, with its threads and the graph.
constexpr int64_t kFixedScratch = 16 << 20;
// Of a run of kPrefillChunk tokens, in vectors of the hidden size: what stands beside one another
// in the widest part of a layer, between two and three times as wide.
constexpr int64_t kVectorsPerToken = 12;

// The graph and what lies beside it by its name: model.onnx.data.
bool holds_weights(const std::string& name, const std::string& graph) {
  return name.compare(0, graph.size(), graph) == 0;
}

int64_t weights_of(const Manifest& manifest) {
  int64_t size = 0;
  for (const auto& [name, entry] : manifest.files) {
    if (holds_weights(name, manifest.graph.file)) size = saturated_sum(size, entry.size);
  }
  return size;
}

int64_t state_of(const Manifest& manifest, int64_t context) {
  int64_t size = 0;
  for (const StateTensor& tensor : manifest.graph.state) {
    size = saturated_sum(size, state_bytes(tensor, context));
  }
  return size;
}

int64_t scratch_of(const Manifest& manifest, int64_t context) {
  const ModelNumbers& model = manifest.model;
  const int64_t tokens = std::min(kPrefillChunk, context);
  const int64_t activations =
      saturated_product(saturated_product(model.hidden_size, tokens),
                        kVectorsPerToken * static_cast<int64_t>(sizeof(float)));
  const int64_t logits = saturated_product(model.vocab_size, sizeof(float));
  return saturated_sum(kFixedScratch, saturated_sum(activations, logits));
}

}  // namespace

int64_t MemoryPlan::total() const { return saturated_sum(weights, saturated_sum(state, scratch)); }

MemoryPlan plan_memory(const Bundle& bundle, int64_t context) {
  const Manifest& manifest = bundle.manifest();
  MemoryPlan plan;
  plan.max_context = manifest.model.max_context;
  plan.context = capacity_for(bundle, context);
  plan.weights = weights_of(manifest);
  plan.state = state_of(manifest, plan.context);
  plan.bytes_per_token = state_of(manifest, 1) - state_of(manifest, 0);
  plan.scratch = scratch_of(manifest, plan.context);
  // Stock operators pack their weights anew, into memory of their own.
  if (!has_our_operators(bundle)) plan.scratch = saturated_sum(plan.scratch, plan.weights);
  return plan;
}

}  // namespace lfm::core
