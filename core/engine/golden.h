// Proves that a runtime computes what the bundle's reference did: replays its golden vectors, token
// by token and in ragged chunks, and goes back; lfm_edge/verify.py says by which rules.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "engine/going_back.h"
#include "engine/session.h"

namespace lfm::core {

// One replay, and how far it lies from the golden vectors.
class GoldenReplay {
 public:
  // Reads the golden tokens in chunks and compares at their ends; `stage` names it.
  GoldenReplay(std::shared_ptr<const Runtime> runtime, std::string stage,
               std::vector<int64_t> chunks);

  // Reads the next chunk, and says how far it is, in positions; none behind the last.
  // LFM_INTEGRITY: more have missed than may.
  std::optional<Progress> next();

  double error() const { return error_; }   // the largest of a logit, outliers left out
  int64_t worst() const { return worst_; }  // its position
  int64_t outliers() const { return outliers_; }

 private:
  const GoldenVectors& golden() const { return runtime_->bundle().manifest().golden; }
  void compare(const float* logits, int64_t position);

  std::shared_ptr<const Runtime> runtime_;
  std::string stage_;
  std::vector<int64_t> chunks_;
  size_t chunk_ = 0;
  std::unique_ptr<Session> session_;
  int64_t length_ = 0, allowed_ = 0;
  double error_ = 0;
  int64_t worst_ = 0, outliers_ = 0;
};

class GoldenCheck {
 public:
  explicit GoldenCheck(std::shared_ptr<const Runtime> runtime);

  // Runs up to the next comparison; none behind the last. LFM_INTEGRITY: a golden vector is missed,
  // or going back changes what follows.
  std::optional<Progress> next();

  const GoldenReplay& decode() const { return decode_; }
  const GoldenReplay& prefill() const { return prefill_; }
  double worst() const;
  double tolerance() const { return tolerance_; }

 private:
  GoldenReplay decode_, prefill_;
  GoingBackCheck going_back_;
  double tolerance_;
};

}  // namespace lfm::core
