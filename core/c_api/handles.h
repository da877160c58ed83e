// What is open: numbers that callers hold for objects, given out once and never again.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace lfm::core {

enum class HandleKind { kModel, kSession, kConversation, kEvents };

// Safe to use from any thread. An object lives as long as its handle is open or somebody has it.
class HandleTable {
 public:
  struct Entry {
    HandleKind kind;
    std::shared_ptr<void> object;  // null: there is none
  };

  static HandleTable& instance();

  uint64_t add(HandleKind kind, std::shared_ptr<void> object);
  // LFM_INVALID_REQUEST: it is closed, was never open, or is of another kind.
  std::shared_ptr<void> find(uint64_t handle, HandleKind kind);
  // Takes it out, so that nothing finds it any more.
  Entry remove(uint64_t handle);
  int64_t size();

 private:
  std::mutex mutex_;
  std::unordered_map<uint64_t, Entry> entries_;
  uint64_t next_ = 1;
};

}  // namespace lfm::core
