// Files of named tensors: a header in JSON, and the tensors' bytes one behind the other.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace lfm::core {

// Texts by their names.
using Metadata = std::map<std::string, std::string>;

// A tensor of a file that is read. Types are named as in the file: F32.
struct StoredTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string_view bytes;
};

// A mapped file. std::runtime_error says what is wrong with it.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  const Metadata& metadata() const { return metadata_; }
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

 private:
  void read(std::string_view header, std::string_view data);

  MappedFile file_;
  Metadata metadata_;
  std::map<std::string, StoredTensor> tensors_;
};

// A tensor to write, whose bytes come in parts.
struct TensorToWrite {
  using Take = std::function<void(const void* data, size_t size)>;

  std::string name, dtype;
  std::vector<int64_t> shape;
  std::function<void(const Take&)> give;
};

// Writes a file that takes its name when it is whole. std::runtime_error: it cannot.
void write_safetensors(const std::string& path, const std::vector<TensorToWrite>& tensors,
                       const Metadata& metadata);

}  // namespace lfm::core
