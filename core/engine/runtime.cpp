#include "engine/runtime.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "engine/graph_signature.h"
#include "engine/requirements.h"
#include "engine/saturated.h"
#include "engine/threads.h"
#include "lfm_ops/register.h"

namespace lfm::core {
namespace {

constexpr int64_t kDefaultContext = 4096;

int checked_threads(int threads) {
  const int chosen = threads == 0 ? default_threads() : threads;
  if (chosen < 1 || chosen > kMostThreads) {
    throw Error(LFM_INVALID_REQUEST, "threads: got " + std::to_string(threads) +
                                         ", expected 1 to " + std::to_string(kMostThreads));
  }
  return chosen;
}

// Each convolution of kernel k sees k - 1 tokens back, and its state holds as many.
int64_t seen_by_convolutions(const Graph& graph) {
  const Function& ports = graph.functions[0];
  if (!ports.port(InputRole::kReplayed) && !ports.port(InputRole::kReplayedWindows)) return -1;
  int64_t seen = 0;
  for (const StateTensor& tensor : graph.state) {
    if (tensor.kind == StateKind::kConv) seen = saturated_sum(seen, tensor.shape.back());
  }
  return seen;
}

// None where all caches keep everything.
std::optional<Windows> windows_of(const Graph& graph, int64_t seen) {
  Windows found{std::numeric_limits<int64_t>::max(), seen};
  bool any = false;
  for (const StateTensor& tensor : graph.state) {
    if (tensor.kind != StateKind::kKey || tensor.slots() == 0) continue;
    any = true;
    found.reach = std::min(found.reach, tensor.slots() - (*tensor.window - 1));
    found.replay = saturated_sum(found.replay, *tensor.window - 1);
  }
  if (!any) return std::nullopt;
  return found;
}

}  // namespace

Runtime::Runtime(std::shared_ptr<const Bundle> bundle, int threads)
    : bundle_(std::move(bundle)),
      threads_(checked_threads(threads)),
      session_(nullptr, [](OrtSession*) {}) {
  const bool ours = has_our_operators(*bundle_);
  require_onnx_graph(*bundle_);
  require_weights(*bundle_, ours);
  replay_ = seen_by_convolutions(bundle_->manifest().graph);
  windows_ = windows_of(bundle_->manifest().graph, replay_);
  ort_ = &onnxruntime();
  load(ours);
  require_signature(*ort_, *session_, *bundle_);
}

void Runtime::load(bool ours) {
  const std::string what = bundle_->graph_path() + ": does not load";
  const OrtApi* const api = ort_->api;
  OrtSessionOptions* made = nullptr;
  ort_->check(ort_CreateSessionOptions(api)(&made), what);
  const OrtHandle<OrtSessionOptions> options(made, ort_ReleaseSessionOptions(api));
  ort_->check(ort_SetIntraOpNumThreads(api)(made, threads_), what);
  ort_->check(ort_SetSessionLogSeverityLevel(api)(made, kOrtLogFatal), what);
  // A memory pattern is kept for every input shape, and each position is a new one.
  ort_->check(ort_DisableMemPattern(api)(made), what);
  if (ours) ort_->check(RegisterCustomOps(made, ort_->base), what);
  OrtSession* session = nullptr;
  ort_->check(ort_CreateSession(api)(ort_->env, bundle_->graph_path().c_str(), made, &session),
              what);
  session_ = OrtHandle<OrtSession>(session, ort_ReleaseSession(api));
}

int64_t capacity_for(const Bundle& bundle, int64_t context) {
  const int64_t most = bundle.manifest().model.max_context;
  if (context == 0) return std::min(kDefaultContext, most);
  if (context < 1 || context > most) {
    throw Error(LFM_INVALID_REQUEST, "context: got " + grouped(context) + ", expected 1 to " +
                                         grouped(most) + ", the most this bundle holds");
  }
  return context;
}

}  // namespace lfm::core
