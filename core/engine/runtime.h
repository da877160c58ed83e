// The graph of one bundle, ready to run; safe to share between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "engine/ort.h"

namespace lfm::core {

class State;

// What the sliding layers of a graph keep together, where it is not everything.
struct Windows {
  int64_t reach;  // how far before the end of what was ever read a run may begin
  // How many tokens before a position give their keys and values there, and the conv state, run on
  // top of anything, while caches that keep everything take nothing.
  int64_t replay;
};

class Runtime {
 public:
  // `threads` of one run; 0: default_threads(). ONNX Runtime's library is found or linked in
  // (use_onnxruntime). LFM_UNSUPPORTED_BUNDLE: a target that is not run here, or weights of a newer
  // format. LFM_BUNDLE: the graph does not load, or is not what the manifest says.
  // LFM_INVALID_REQUEST: `threads` is out of range.
  explicit Runtime(std::shared_ptr<const Bundle> bundle, int threads = 0);
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  const Bundle& bundle() const { return *bundle_; }
  const std::shared_ptr<const Bundle>& shared_bundle() const { return bundle_; }
  int64_t vocab_size() const { return bundle_->manifest().model.vocab_size; }
  int threads() const { return threads_; }
  const Function& ports() const { return bundle_->manifest().graph.functions[0]; }
  const std::vector<StateTensor>& state_tensors() const { return bundle_->manifest().graph.state; }

  // How many tokens before a position give the conv state there, run on top of an empty one with
  // nothing appended; -1 where a run can only append.
  int64_t replay() const { return replay_; }
  const std::optional<Windows>& windows() const { return windows_; }

 private:
  friend class State;

  void load(bool ours);

  std::shared_ptr<const Bundle> bundle_;
  int threads_;
  int64_t replay_;
  std::optional<Windows> windows_;
  const Ort* ort_ = nullptr;
  OrtHandle<OrtSession> session_;
};

// The session's capacity for a `context` that was asked for; 0: the smaller of 4096 and the
// bundle's most. LFM_INVALID_REQUEST: it is below 0 or above that.
int64_t capacity_for(const Bundle& bundle, int64_t context);

}  // namespace lfm::core
