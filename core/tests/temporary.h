// A place for a file that a test writes.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace lfm::core {

inline std::string temporary_path(const std::string& name) {
  const char* const folder = std::getenv("TMPDIR");
  return std::string(folder != nullptr ? folder : "/tmp") + "/lfm_core_" + name + "_" +
         std::to_string(getpid());
}

}  // namespace lfm::core
