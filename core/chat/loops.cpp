#include "chat/loops.h"

#include <algorithm>

namespace lfm::core {
namespace {

constexpr int kMaxPeriod = 512;
constexpr int kMinRepeats = 4;
constexpr int kMinTokens = 256;

}  // namespace

LoopDetector::LoopDetector()
    : tokens_(2 * kMaxPeriod, -1), equal_(kMaxPeriod, 0), end_(kMaxPeriod) {
  // Equal pairs at distance p that make a stretch: its length less p.
  for (int period = kMaxPeriod; period > 0; --period) {
    needed_.push_back(std::max(period * (kMinRepeats - 1), kMinTokens - period));
  }
}

bool LoopDetector::push(int32_t token) {
  if (end_ == tokens_.size()) {
    std::copy(tokens_.end() - kMaxPeriod, tokens_.end(), tokens_.begin());
    end_ = kMaxPeriod;
  }
  const int32_t* before = &tokens_[end_ - kMaxPeriod];
  bool found = false;
  for (int i = 0; i < kMaxPeriod; ++i) {
    equal_[i] = before[i] == token ? equal_[i] + 1 : 0;
    found |= equal_[i] >= needed_[i];
  }
  tokens_[end_++] = token;
  return found;
}

}  // namespace lfm::core
