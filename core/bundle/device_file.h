// device.bin: what a phone need not parse, mapped and read in place (docs/bundle.md).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/file.h"

namespace lfm::core {

class DeviceFile {
 public:
  // LFM_BUNDLE where it cannot be read or is damaged, LFM_UNSUPPORTED_BUNDLE where its version is
  // another.
  explicit DeviceFile(const std::string& path);

  bool has(std::string_view name) const;
  // The bytes of a section, which begin at a multiple of 64; empty where there is none. They live
  // as long as this.
  std::string_view section(std::string_view name) const;

 private:
  MappedFile file_;
  size_t sections_ = 0;
};

}  // namespace lfm::core
