#include "bundle/device_file.h"

#include <cstdint>
#include <cstring>

#include "base/error.h"

namespace lfm::core {
namespace {

constexpr char kMagic[] = {'L', 'F', 'M', 'D', 'E', 'V', 'I', 'C'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kAlignment = 64;

struct Head {
  char magic[8];
  uint32_t version, sections;
  uint64_t size;
};

struct Section {
  char name[16];
  uint64_t offset, size;

  std::string_view called() const { return {name, strnlen(name, sizeof(name))}; }
};

template <class T>
T read(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

Section section_at(std::string_view bytes, size_t index) {
  return read<Section>(bytes, sizeof(Head) + index * sizeof(Section));
}

}  // namespace

DeviceFile::DeviceFile(const std::string& path) : file_(path) {
  const auto refuse = [&](const std::string& what) {
    throw Error(LFM_BUNDLE, path + ": " + what + "; export the bundle again");
  };
  const std::string_view bytes = file_.bytes();
  if (bytes.size() < sizeof(Head)) refuse("is cut off");
  const Head head = read<Head>(bytes, 0);
  if (std::memcmp(head.magic, kMagic, sizeof(kMagic)) != 0) refuse("is no device file");
  if (head.version != kVersion) {
    throw Error(LFM_UNSUPPORTED_BUNDLE, path + ": version " + std::to_string(head.version) +
                                            ", but this program reads version " +
                                            std::to_string(kVersion));
  }
  if (head.size != bytes.size()) {
    refuse("has " + grouped(static_cast<long long>(bytes.size())) + " bytes, expected " +
           grouped(static_cast<long long>(head.size)));
  }
  if (head.sections > (bytes.size() - sizeof(Head)) / sizeof(Section)) refuse("is damaged");
  for (size_t i = 0; i < head.sections; ++i) {
    const Section section = section_at(bytes, i);
    if (section.offset % kAlignment != 0 || section.offset > bytes.size() ||
        section.size > bytes.size() - section.offset) {
      refuse("is damaged");
    }
  }
  sections_ = head.sections;
}

bool DeviceFile::has(std::string_view name) const { return section(name).data() != nullptr; }

std::string_view DeviceFile::section(std::string_view name) const {
  for (size_t i = 0; i < sections_; ++i) {
    const Section found = section_at(file_.bytes(), i);
    if (found.called() == name) return file_.bytes().substr(found.offset, found.size);
  }
  return {};
}

}  // namespace lfm::core
