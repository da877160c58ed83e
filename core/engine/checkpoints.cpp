#include "engine/checkpoints.h"

#include <algorithm>
#include <utility>

namespace lfm::core {
namespace {

constexpr size_t kMostCheckpoints = 64;

}  // namespace

size_t Checkpoints::count_up_to(int64_t position) const {
  const auto beyond = std::upper_bound(
      kept_.begin(), kept_.end(), position,
      [](int64_t wanted, const KnownConv& kept) { return wanted < kept.position; });
  return static_cast<size_t>(beyond - kept_.begin());
}

void Checkpoints::add(int64_t position, Conv conv) {
  drop_after(position - 1);
  kept_.push_back({position, std::move(conv)});
  if (kept_.size() <= kMostCheckpoints) return;
  size_t least = 0;
  int64_t smallest = 0;
  for (size_t i = 0; i + 1 < kept_.size(); ++i) {
    const int64_t gap = kept_[i + 1].position - (i == 0 ? 0 : kept_[i - 1].position);
    if (i > 0 && gap >= smallest) continue;
    least = i;
    smallest = gap;
  }
  kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(least));
}

KnownConv Checkpoints::before(int64_t position) const {
  const size_t count = count_up_to(position);
  return count > 0 ? kept_[count - 1] : KnownConv{0, nullptr};
}

void Checkpoints::drop_after(int64_t position) { kept_.resize(count_up_to(position)); }

}  // namespace lfm::core
