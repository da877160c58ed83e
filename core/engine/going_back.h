// Holds a session that went back to one that read straight on, to the bit; and where sliding layers
// keep the last positions alone, what they write anew to what was there. Golden vectors do not see
// the ports that only such runs use.
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
  // LFM_INTEGRITY: logits, or what is written anew, differ from those of a straight run.
  std::optional<Progress> next();

 private:
  void read_straight();
  void read_after_going_back();
  void write_anew();

  std::shared_ptr<const Runtime> runtime_;
  std::vector<int32_t> text_;
  size_t place_ = 0;             // to which it goes back
  std::vector<float> expected_;  // logits of the tokens behind it
  int step_ = 0;
};

}  // namespace lfm::core
