#include "text/merger.h"

#include <algorithm>
#include <functional>

namespace lfm::core {
namespace {

constexpr size_t kShort = 48;  // up to here, looking at all pairs is faster than a queue

uint64_t queued(uint32_t rank, uint32_t at) { return uint64_t{rank} << 32 | at; }

}  // namespace

void Merger::append(std::string_view piece, std::vector<int32_t>& ids) {
  const uint32_t word = tables_.word(piece);
  if (word != kNone) {
    ids.push_back(tables_.checked(word));
  } else if (piece.size() <= kShort) {
    append_short(piece, ids);
  } else {
    append_long(piece, ids);
  }
}

void Merger::set_pair(Part& left, uint32_t right) const {
  const Merge* const merge = tables_.merge(left.id, right);
  left.rank = merge != nullptr ? merge->rank : kNone;
  left.result = merge != nullptr ? merge->result : 0;
}

void Merger::append_short(std::string_view piece, std::vector<int32_t>& ids) const {
  Part parts[kShort];
  size_t count = piece.size();
  for (size_t i = 0; i < count; ++i) parts[i].id = tables_.byte_id(piece[i]);
  for (size_t i = 0; i + 1 < count; ++i) set_pair(parts[i], parts[i + 1].id);
  while (count > 1) {
    Part* const last = parts + count - 1;
    Part* const best =
        std::min_element(parts, last, [](const Part& a, const Part& b) { return a.rank < b.rank; });
    if (best->rank == kNone) break;
    best->id = best->result;
    std::move(best + 2, parts + count, best + 1);
    --count;
    if (best + 1 < parts + count) set_pair(*best, best[1].id);
    if (best > parts) set_pair(best[-1], best->id);
  }
  for (size_t i = 0; i < count; ++i) ids.push_back(tables_.checked(parts[i].id));
}

// The parts as a list, and a queue in which a pair that is no more stays until it comes up.
void Merger::append_long(std::string_view piece, std::vector<int32_t>& ids) {
  const uint32_t count = static_cast<uint32_t>(piece.size());
  parts_.resize(count);
  queue_.clear();
  for (uint32_t i = 0; i < count; ++i) {
    parts_[i] = {tables_.byte_id(piece[i]), kNone, 0, i == 0 ? kNone : i - 1,
                 i + 1 == count ? kNone : i + 1};
  }
  for (uint32_t i = 0; i + 1 < count; ++i) {
    set_pair(parts_[i], parts_[i + 1].id);
    if (parts_[i].rank != kNone) queue_.push_back(queued(parts_[i].rank, i));
  }
  std::make_heap(queue_.begin(), queue_.end(), std::greater<>());
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
    const uint32_t rank = static_cast<uint32_t>(queue_.back() >> 32);
    const uint32_t at = static_cast<uint32_t>(queue_.back());
    queue_.pop_back();
    Part& left = parts_[at];
    if (left.rank != rank) continue;  // it has merged since, or is gone
    Part& right = parts_[left.next];
    left.id = left.result;
    left.next = right.next;
    right.rank = kNone;
    if (left.next != kNone) parts_[left.next].previous = at;
    set_pair_of(at);
    if (left.previous != kNone) set_pair_of(left.previous);
  }
  for (uint32_t at = 0; at != kNone; at = parts_[at].next) {
    ids.push_back(tables_.checked(parts_[at].id));
  }
}

void Merger::set_pair_of(uint32_t at) {
  Part& left = parts_[at];
  left.rank = kNone;
  if (left.next == kNone) return;
  set_pair(left, parts_[left.next].id);
  if (left.rank == kNone) return;
  queue_.push_back(queued(left.rank, at));
  std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
}

}  // namespace lfm::core
