// Proves that a runtime computes what the bundle's reference did: replays its golden vectors, token
// by token and in ragged chunks, then goes back and holds what follows to a straight run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "engine/session.h"

namespace lfm::core {

// How far one replay lies from the golden vectors.
struct Replay {
  double error = 0;   // the largest of a logit, outliers left out
  int64_t worst = 0;  // its position
  int64_t outliers = 0;
};

class GoldenCheck {
 public:
  explicit GoldenCheck(std::shared_ptr<const Runtime> runtime);

  // Runs up to the next place where it compares, and says how far it is, in positions; none behind
  // the last. LFM_INTEGRITY: a golden vector is missed, or going back changes what follows.
  std::optional<Progress> next();

  const Replay& decode() const { return replays_[0]; }
  const Replay& prefill() const { return replays_[1]; }
  double worst() const;
  double tolerance() const { return golden().tolerance; }
  int64_t positions() const { return length_; }

 private:
  const GoldenVectors& golden() const { return runtime_->bundle().manifest().golden; }
  void begin_replay(size_t which);
  Progress replay_chunk();
  void compare(const float* logits, int64_t position);
  std::optional<Progress> go_back();

  std::shared_ptr<const Runtime> runtime_;
  int64_t length_ = 0;
  size_t stage_ = 0;  // 0 decode, 1 prefill, 2 rewind
  std::vector<int64_t> chunks_;
  size_t chunk_ = 0;
  int64_t allowed_ = 0;
  std::unique_ptr<Session> session_;
  Replay replays_[2];
};

}  // namespace lfm::core
