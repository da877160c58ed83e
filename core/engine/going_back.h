// Holds a session that went back to one that read straight on, to the bit. Golden vectors do not
// see the ports that only such a run uses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "bundle/bundle.h"
#include "engine/session.h"

namespace lfm::core {

class GoingBackCheck {
 public:
  // `ids` are repeated as often as needed.
  GoingBackCheck(std::shared_ptr<const Runtime> runtime, const std::vector<int64_t>& ids);

  // Does a part of it, and says how far it is; none where it is done, or the graph cannot replay.
  // LFM_INTEGRITY: logits differ from those of a straight run.
  std::optional<Progress> next();

 private:
  void read_straight();
  void read_after_going_back();

  std::shared_ptr<const Runtime> runtime_;
  std::vector<int32_t> text_;
  size_t place_ = 0;             // to which it goes back
  std::vector<float> expected_;  // logits of the tokens behind it
  int step_ = 0;
};

}  // namespace lfm::core
