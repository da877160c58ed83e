#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/error.h"

namespace lfm::core {
namespace {

[[noreturn]] void refuse(const std::string& path, int error) {
  throw Error(LFM_BUNDLE, path + ": " + std::strerror(error));
}

// An open file that is closed in the end.
struct Descriptor {
  explicit Descriptor(const std::string& path) : number(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (number < 0) refuse(path, errno);
  }
  ~Descriptor() { close(number); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  const int number;
};

// The size of a plain file; a pipe or a folder is refused.
size_t size_of(const Descriptor& file, const std::string& path) {
  struct stat status;
  if (fstat(file.number, &status) != 0) refuse(path, errno);
  if (!S_ISREG(status.st_mode)) throw Error(LFM_BUNDLE, path + ": is no plain file");
  return static_cast<size_t>(status.st_size);
}

[[noreturn]] void fail() { throw std::runtime_error(std::strerror(errno)); }

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file(path);
  const size_t size = size_of(file, path);
  if (size == 0) return;
  void* const data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (data == MAP_FAILED) refuse(path, errno);
  data_ = static_cast<const char*>(data);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string read_file(const std::string& path, size_t most) {
  const Descriptor file(path);
  const size_t size = size_of(file, path);
  if (size > most) {
    throw Error(LFM_BUNDLE, path + ": has " + grouped(static_cast<long long>(size)) +
                                " bytes, expected at most " +
                                grouped(static_cast<long long>(most)));
  }
  std::string text(size, '\0');
  size_t held = 0;
  while (held < size) {
    const ssize_t got = read(file.number, text.data() + held, size - held);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse(path, errno);
    if (got == 0) break;  // it shrank
    held += static_cast<size_t>(got);
  }
  text.resize(held);
  return text;
}

bool is_file(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

NewFile::NewFile(const std::string& path, For readers) : path_(path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    throw std::runtime_error("is no plain file");
  }
  static std::atomic<unsigned> count{0};
  partial_ = path + ".partial-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  file_ = open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
               readers == For::kItsOwner ? 0600 : 0666);
  if (file_ < 0) fail();
}

NewFile::~NewFile() {
  if (file_ < 0) return;
  close(file_);
  unlink(partial_.c_str());
}

void NewFile::write(const void* data, size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t put = ::write(file_, bytes, size);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail();
    bytes += put;
    size -= static_cast<size_t>(put);
  }
}

void NewFile::finish() {
  if (fsync(file_) != 0) fail();
  if (rename(partial_.c_str(), path_.c_str()) != 0) fail();
  close(std::exchange(file_, -1));
}

}  // namespace lfm::core
