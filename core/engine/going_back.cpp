#include "engine/going_back.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "engine/state.h"

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
  if (place_ == 0 || step_ == (runtime_->windows() ? 3 : 2)) return std::nullopt;
  ++step_;
  if (step_ == 3) {
    write_anew();
    return Progress{"windows", kAfter, kAfter};
  }
  if (step_ == 1) {
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

void GoingBackCheck::write_anew() {
  State state(runtime_, kAfter);
  state.run(text_.data(), kAfter, 0, 0);
  const auto& tensors = runtime_->state_tensors();
  std::vector<std::vector<char>> expected(tensors.size());  // empty where all is kept
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].slots() == 0) continue;
    const auto bytes = static_cast<size_t>(state_bytes(tensors[i], kAfter));
    expected[i].assign(state.tensor(i), state.tensor(i) + bytes);
    std::fill_n(state.tensor(i), bytes, '\0');
  }
  state.clear();
  state.run(text_.data(), kAfter, 0, kAfter, true);
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (std::equal(expected[i].begin(), expected[i].end(), state.tensor(i))) continue;
    throw Error(LFM_INTEGRITY,
                "windows: " + tensors[i].name +
                    " was not written anew as it had been; the manifest exchanges replayed and "
                    "replayed_windows, or the operators differ from those that the graph was made "
                    "for");
  }
}

}  // namespace lfm::core
