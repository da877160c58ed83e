#include "engine/contents.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lfm::core {
namespace {

constexpr int64_t kCheckpointTokens = 512;  // most between two kept conv states, while they are few

}  // namespace

std::vector<Run> runs_of(int64_t count, int64_t replay) {
  std::vector<Run> runs;
  int64_t begin = 0, end = kPrefillChunk - replay % kPrefillChunk;
  for (; begin < count; begin = end, end += kPrefillChunk) {
    runs.push_back({begin, std::min(end, count)});
  }
  return runs;
}

Contents::Contents(std::shared_ptr<const Runtime> runtime, int64_t capacity)
    : state_(std::move(runtime), capacity) {
  ids_.reserve(static_cast<size_t>(capacity));  // so that no token moves them
}

int64_t Contents::replay() const { return static_cast<int64_t>(ids_.size()) - start().position; }

void Contents::clear() {
  ids_.clear();
  checkpoints_.drop_after(0);
  state_.clear();
  conv_position_ = earliest_ = 0;
}

void Contents::rewind(int64_t position) {
  if (position == 0) return clear();
  ids_.resize(static_cast<size_t>(position));
  checkpoints_.drop_after(position);
}

int64_t Contents::reachable(int64_t position) const {
  if (state_.runtime().replay() >= 0 || position == conv_position_) return position;
  return checkpoints_.before(position).position;
}

float* Contents::append(TokenIds tokens) {
  const auto held = static_cast<int64_t>(ids_.size());
  const Start from = start();
  if (from.position < held && from.position == 0) {
    state_.clear();
    earliest_ = 0;
  } else if (!from.keeps_conv) {
    state_.set_conv(from.conv);
  }
  if (from.anew) earliest_ = held;
  // From the very beginning nothing is missing, and the tokens are simply appended again.
  const bool replays = state_.runtime().replay() >= 0 && from.position > 0;
  const int64_t replayed = replays ? held - from.position : 0;
  ids_.insert(ids_.end(), tokens.begin(), tokens.end());
  const auto unread = static_cast<int64_t>(ids_.size()) - from.position;
  float* logits = nullptr;
  for (int64_t begin = 0; begin < unread; begin += kPrefillChunk) {
    const int64_t count = std::min(kPrefillChunk, unread - begin);
    const int64_t position = from.position + begin;
    logits = state_.run(ids_.data() + position, count, position,
                        std::clamp<int64_t>(replayed - begin, 0, count), from.anew);
    overwrite(position + count);
    keep_conv(position + count, tokens.size());
  }
  conv_position_ = static_cast<int64_t>(ids_.size());
  return logits;
}

KnownConv Contents::conv() const {
  const auto held = static_cast<int64_t>(ids_.size());
  if (conv_position_ == held) return {held, state_.conv()};
  const KnownConv kept = checkpoints_.before(held);
  return kept.position > 0 ? kept : KnownConv{};
}

KnownConv Contents::conv_to_save() const {
  const KnownConv kept = checkpoints_.before(static_cast<int64_t>(ids_.size()));
  return kept.position > 0 ? kept : conv();
}

void Contents::fill(TokenIds ids, const KnownConv& known, int64_t earliest) {
  earliest_ = earliest;
  ids_.assign(ids.begin(), ids.end());
  conv_position_ = -1;
  if (known.position >= 0) set_conv(known);
}

void Contents::set_conv(const KnownConv& known) {
  if (known.position == static_cast<int64_t>(ids_.size())) {
    state_.set_conv(known.conv);
    conv_position_ = known.position;
  }
  if (state_.runtime().replay() < 0) checkpoints_.add(known.position, known.conv);
}

void Contents::copy_from(const Contents& other) {
  const auto held = static_cast<int64_t>(other.ids_.size());
  const auto& tensors = state_.runtime().state_tensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].kind == StateKind::kConv) continue;
    const HeldParts parts(tensors[i], state_.capacity(), held);
    for (size_t part = 0; part < parts.count; ++part) {
      std::memcpy(state_.tensor(i) + part * parts.stride,
                  other.state_.tensor(i) + part * parts.stride, parts.size);
    }
  }
  checkpoints_ = other.checkpoints_;
  fill(other.ids_, other.conv(), other.earliest_);
}

Contents::Start Contents::start() const {
  const auto held = static_cast<int64_t>(ids_.size());
  if (conv_position_ == held && held >= earliest_) return {held, true, nullptr};
  const int64_t replay = state_.runtime().replay();
  if (replay >= 0) {
    const auto& windows = state_.runtime().windows();
    const int64_t near = std::max<int64_t>(0, held - replay);
    if (!windows || near == 0 || near >= earliest_) return {near, false, nullptr};
    const int64_t far = std::max<int64_t>(0, held - windows->replay);
    return {far, false, nullptr, far > 0};
  }
  const KnownConv kept = checkpoints_.before(held);
  return {kept.position, false, kept.conv};
}

void Contents::overwrite(int64_t end) {
  const auto& windows = state_.runtime().windows();
  if (windows) earliest_ = std::max(earliest_, end - windows->reach);
}

// Keeps the conv state of a position that a run has come to, where it may be wanted. Several tokens
// at once are a turn's, and the next one may go back to their end.
void Contents::keep_conv(int64_t position, size_t reading) {
  if (state_.runtime().replay() >= 0) return;
  if (reading > 1 || position - checkpoints_.last() >= kCheckpointTokens) {
    checkpoints_.add(position, state_.conv());
  }
}

}  // namespace lfm::core
