// A session as a file, the same as Python's: a safetensors file of its ids, keys and values, and of
// its conv state. lfm_edge/session_file.py says what it holds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/contents.h"

namespace lfm::core {

// Writes contents beside `path` and renames it. LFM_SESSION_FILE: it cannot be written.
void write_session(const std::string& path, const Contents& contents, std::string_view attached);

// An open file whose metadata fit the bundle; its tensors are checked when they are read.
class SavedSession {
 public:
  // LFM_SESSION_FILE: it is missing, damaged, no saved session, of another version or bundle.
  SavedSession(const std::string& path, const Runtime& runtime);

  int64_t capacity() const { return capacity_; }
  int64_t position() const { return position_; }
  const std::string& attached() const { return attached_; }

  // Fills empty contents, whose capacity holds `position` tokens. LFM_SESSION_FILE: the tensors are
  // not the bundle's, or differ from what was written; the contents are then not to be used.
  void read_into(Contents& contents) const;

 private:
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string_view bytes;
  };

  std::string path_;
  MappedFile file_;
  const Runtime* runtime_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Tensor> tensors_;
  std::string sha256_, attached_;
  int64_t capacity_ = 0, position_ = 0, conv_position_ = -1;
};

}  // namespace lfm::core
