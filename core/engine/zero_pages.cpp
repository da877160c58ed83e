#include "engine/zero_pages.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace lfm::core {

ZeroPages::ZeroPages(size_t size) : size_(size) {
  if (size == 0) return;
  void* const data =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<char*>(data);
#ifdef MADV_NOHUGEPAGE
  // A huge page would be taken whole with the first token of every head of a cache.
  madvise(data, size, MADV_NOHUGEPAGE);
#endif
}

ZeroPages::~ZeroPages() {
  if (data_ != nullptr) munmap(data_, size_);
}

ZeroPages::ZeroPages(ZeroPages&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

ZeroPages& ZeroPages::operator=(ZeroPages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace lfm::core
