// Files: mapped, read, and written beside their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lfm::core {

// A file's bytes, mapped read-only; empty where the file is.
class MappedFile {
 public:
  MappedFile() = default;
  // Error of kind `LFM_BUNDLE` where it cannot be opened, naming the path and the reason.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::string_view bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// The whole of a file of at most `most` bytes; LFM_BUNDLE otherwise.
std::string read_file(const std::string& path, size_t most);

bool is_file(const std::string& path);

// A file that takes its name when it is whole: written as NAME.partial-PID-N beside it, synced and
// renamed by `finish`; gone if that never comes. `std::runtime_error` with the system's reason, or
// where a pipe, a device or a folder has that name.
class NewFile {
 public:
  enum class For { kEverybody, kItsOwner };

  explicit NewFile(const std::string& path, For readers = For::kEverybody);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* data, size_t size);
  void finish();

 private:
  std::string path_, partial_;
  int file_ = -1;
};

}  // namespace lfm::core
