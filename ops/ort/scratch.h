// Memory that a call needs while it runs, kept between calls so that no token allocates.
//
// All kernels of a process share one list of free blocks, since the layers of a session run one
// after another: a session holds one block, as large as its largest call so far. Calls that run
// at once (several sessions, or several threads in one) take a block each. The list is freed with
// the last kernel.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

namespace lfm {

class ScratchPool {
 public:
  // The pool of the process, shared by whoever holds it.
  static std::shared_ptr<ScratchPool> shared();

  ScratchPool() = default;
  ~ScratchPool();
  ScratchPool(const ScratchPool&) = delete;
  ScratchPool& operator=(const ScratchPool&) = delete;

 private:
  friend class Scratch;
  struct Block {
    Block* next;
    size_t size;
  };
  Block* take(size_t size);
  void give_back(Block* block) noexcept;
  static void free(Block* block) noexcept;

  std::mutex mutex_;
  Block* free_ = nullptr;
};

// One call's memory, cut into parts from front to back. Throws std::bad_alloc.
class Scratch {
 public:
  static constexpr size_t kAlignment = 64;
  static constexpr size_t aligned(size_t size) {
    return (size + kAlignment - 1) & ~(kAlignment - 1);
  }

  Scratch(ScratchPool& pool, size_t size);
  ~Scratch() { pool_.give_back(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next `count` values, aligned to kAlignment. The sum of `aligned` sizes is what to ask for.
  template <class T>
  T* part(size_t count) {
    return reinterpret_cast<T*>(bytes(count * sizeof(T)));
  }

 private:
  std::byte* bytes(size_t size) {
    std::byte* start = next_;
    next_ += aligned(size);
    return start;
  }

  ScratchPool& pool_;
  ScratchPool::Block* block_;
  std::byte* next_;
};

}  // namespace lfm
