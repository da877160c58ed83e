#include "scratch.h"

#include <new>

namespace lfm {

std::shared_ptr<ScratchPool> ScratchPool::shared() {
  static std::mutex mutex;
  static std::weak_ptr<ScratchPool> pool;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<ScratchPool> held = pool.lock();
  if (held == nullptr) pool = held = std::make_shared<ScratchPool>();
  return held;
}

ScratchPool::~ScratchPool() {
  while (free_ != nullptr) {
    Block* next = free_->next;
    free(free_);
    free_ = next;
  }
}

ScratchPool::Block* ScratchPool::take(size_t size) {
  Block* block = nullptr;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    Block** link = &free_;
    for (Block** at = &free_; *at != nullptr; at = &(*at)->next) {
      if ((*at)->size > (*link)->size) link = at;
    }
    block = *link;
    if (block != nullptr) *link = block->next;
  }
  if (block != nullptr && block->size >= size) return block;
  if (block != nullptr) free(block);
  void* memory = ::operator new(Scratch::kAlignment + size, std::align_val_t(Scratch::kAlignment));
  return new (memory) Block{nullptr, size};
}

void ScratchPool::give_back(Block* block) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  block->next = free_;
  free_ = block;
}

void ScratchPool::free(Block* block) noexcept {
  ::operator delete(block, std::align_val_t(Scratch::kAlignment));
}

Scratch::Scratch(ScratchPool& pool, size_t size)
    : pool_(pool),
      block_(pool.take(size)),
      next_(reinterpret_cast<std::byte*>(block_) + kAlignment) {}

}  // namespace lfm
