// The tasks of one phase, shared out among workers.
//
// Every worker owns a stretch of neighbouring tasks and takes it piece by piece from the front, so
// that weights stream through memory as if the split were fixed; pieces shrink as a stretch ends,
// and who is done helps whoever has most left, so that a slow core holds nobody up.
#pragma once

#include <atomic>
#include <cstdint>

namespace lfm {

class Shares {
 public:
  static constexpr int kMostOwners = 64;

  // Not while anybody takes.
  void reset(int64_t tasks, int owners) {
    owners_ = owners;
    for (int i = 0; i < owners; ++i) {
      stretch_[i].next.store(tasks * i / owners, std::memory_order_relaxed);
      stretch_[i].end = tasks * (i + 1) / owners;
    }
  }

  // The next tasks for `worker`: `begin` to the result, empty once all are taken.
  int64_t take(int worker, int64_t* begin) {
    if (worker < owners_) {
      const int64_t end = stretch_[worker].take(begin);
      if (*begin < end) return end;
    }
    while (Stretch* longest = most_left()) {
      const int64_t end = longest->take(begin);
      if (*begin < end) return end;
    }
    return *begin = 0;
  }

 private:
  // A piece is this part of what is left of a stretch, and at least one task.
  static constexpr int64_t kPieceOfStretch = 8;

  struct alignas(64) Stretch {
    std::atomic<int64_t> next;
    int64_t end;

    int64_t left() const { return end - next.load(std::memory_order_relaxed); }

    int64_t take(int64_t* begin) {
      *begin = next.load(std::memory_order_relaxed);
      for (;;) {
        const int64_t piece = (end - *begin + kPieceOfStretch - 1) / kPieceOfStretch;
        if (piece <= 0) return *begin;
        if (next.compare_exchange_weak(*begin, *begin + piece, std::memory_order_relaxed)) {
          return *begin + piece;
        }
      }
    }
  };

  Stretch* most_left() {
    Stretch* found = nullptr;
    for (int i = 0; i < owners_; ++i) {
      if (stretch_[i].left() > (found != nullptr ? found->left() : 0)) found = &stretch_[i];
    }
    return found;
  }

  int owners_;
  Stretch stretch_[kMostOwners];
};

}  // namespace lfm
