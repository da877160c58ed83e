// Memory that is zeros, and costs nothing before it is written.
#pragma once

#include <cstddef>

namespace lfm::core {

class ZeroPages {
 public:
  ZeroPages() = default;
  explicit ZeroPages(size_t size);  // std::bad_alloc where there is none
  ~ZeroPages();
  ZeroPages(ZeroPages&& other) noexcept;
  ZeroPages& operator=(ZeroPages&& other) noexcept;

  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lfm::core
