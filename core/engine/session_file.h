// A session as a file, the same as Python's: lfm_edge/session_file.py says what it holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/contents.h"
#include "engine/safetensors.h"

namespace lfm::core {

// Writes contents beside `path` and renames it. LFM_SESSION_FILE: it cannot be written.
void write_session(const std::string& path, const Contents& contents, std::string_view attached);

// An open file whose metadata fit the bundle; its tensors are checked when they are read.
class SavedSession {
 public:
  // LFM_SESSION_FILE: it is missing, damaged, no saved session, of another version or bundle.
  SavedSession(const std::string& path, const Runtime& runtime);

  int64_t capacity() const { return capacity_; }  // of the session that was saved
  int64_t position() const { return position_; }  // how many tokens it holds
  const std::string& attached() const { return attached_; }

  // Fills empty contents, whose capacity holds `position` tokens. LFM_SESSION_FILE: the tensors are
  // not the bundle's, or differ from what was written; the contents are then not to be used.
  void read_into(Contents& contents) const;

 private:
  [[noreturn]] void damaged(const std::string& what) const;
  std::string text(const char* name) const;
  int64_t number(const char* name, int64_t least, int64_t most) const;
  const StoredTensor& tensor(const std::string& name, const char* dtype) const;
  void check_metadata(const Bundle& bundle) const;
  void check_tensors(const std::vector<StateTensor>& state) const;
  bool is_stored(const StateTensor& described) const;
  std::string digest() const;

  std::string path_;
  SafetensorsFile file_;
  int64_t vocab_size_;
  std::string attached_;
  int64_t capacity_ = 0, position_ = 0, conv_position_ = -1;
};

}  // namespace lfm::core
