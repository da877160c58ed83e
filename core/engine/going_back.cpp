#include "engine/going_back.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace lfm::core {
namespace {

constexpr int64_t kAfter = 4;  // tokens that are read behind the place

// The largest difference of two rows of logits; none where they are the same.
std::optional<double> difference(const float* found, const float* straight, size_t count) {
  double largest = 0;
  bool same = true;
  for (size_t i = 0; i < count; ++i) {
    if (found[i] == straight[i]) continue;
    same = false;
    largest = std::max(largest, std::fabs(static_cast<double>(found[i]) - straight[i]));
  }
  if (same) return std::nullopt;
  return largest;
}

}  // namespace

GoingBackCheck::GoingBackCheck(std::shared_ptr<const Runtime> runtime,
                               const std::vector<int64_t>& ids)
    : runtime_(std::move(runtime)) {
  const int64_t most = runtime_->bundle().manifest().model.max_context;
  // A place from which a replay does not reach back to the beginning, where it would be none.
  const int64_t place = std::min(runtime_->replay() + 2, most - kAfter);
  if (runtime_->replay() < 0 || place < 1) return;
  place_ = static_cast<size_t>(place);
  for (size_t i = 0; i < place_ + kAfter; ++i) {
    text_.push_back(static_cast<int32_t>(ids[i % ids.size()]));
  }
}

std::optional<Progress> GoingBackCheck::next() {
  if (place_ == 0 || step_ == 2) return std::nullopt;
  if (step_++ == 0) {
    read_straight();
  } else {
    read_after_going_back();
  }
  const auto length = static_cast<int64_t>(text_.size());
  return Progress{"rewind", step_ * length, 2 * length};
}

void GoingBackCheck::read_straight() {
  Session session(runtime_, static_cast<int64_t>(text_.size()));
  session.prefill({text_.data(), place_});
  for (size_t at = place_; at < text_.size(); ++at) {
    const float* const logits = session.decode(text_[at]);
    expected_.insert(expected_.end(), logits, logits + runtime_->vocab_size());
  }
}

void GoingBackCheck::read_after_going_back() {
  const auto vocab = static_cast<size_t>(runtime_->vocab_size());
  std::vector<int32_t> others = text_;
  for (size_t at = place_; at < others.size(); ++at) {
    others[at] = static_cast<int32_t>((others[at] + 1) % runtime_->vocab_size());
  }
  Session session(runtime_, static_cast<int64_t>(text_.size()));
  session.prefill(others);
  session.rewind(static_cast<int64_t>(place_));
  for (size_t at = place_; at < text_.size(); ++at) {
    const float* const logits = session.decode(text_[at]);
    const auto error = difference(logits, &expected_[(at - place_) * vocab], vocab);
    if (!error) continue;
    char shown[32];
    std::snprintf(shown, sizeof shown, "%.3g", *error);
    throw Error(LFM_INTEGRITY,
                "rewind: the logits at position " + std::to_string(at) + " differ by " + shown +
                    " from those of a run straight on, expected the same bits; the manifest "
                    "names the wrong ports of the conv state, or the operators differ from those "
                    "that the graph was made for");
  }
}

}  // namespace lfm::core
