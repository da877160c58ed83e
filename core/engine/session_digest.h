// The SHA-256 of a session file's metadata, and of its tensors in the order of their names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "engine/safetensors.h"

namespace lfm::core {

class SessionDigest {
 public:
  explicit SessionDigest(const Metadata& metadata);

  // The next tensor, whose bytes follow; `dtype` as in the file.
  void begin(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape);
  void add(const void* data, size_t size) { hash_.add(data, size); }
  std::string hex() { return hash_.hex(); }

 private:
  Sha256 hash_;
};

}  // namespace lfm::core
