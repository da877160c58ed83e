#include "c_api/handles.h"

#include "answer/fields.h"

namespace lfm::core {
namespace {

const char* name_of(HandleKind kind) {
  switch (kind) {
    case HandleKind::kModel:
      return "model";
    case HandleKind::kSession:
      return "session";
    case HandleKind::kConversation:
      return "conversation";
    case HandleKind::kEvents:
      return "stream of events";
  }
  return "";
}

}  // namespace

HandleTable& HandleTable::instance() {
  // Never destroyed: other threads may still use it when the process ends.
  static HandleTable& table = *new HandleTable;
  return table;
}

uint64_t HandleTable::add(HandleKind kind, std::shared_ptr<void> object) {
  const std::lock_guard<std::mutex> lock(mutex_);
  entries_.emplace(next_, Entry{kind, std::move(object)});
  return next_++;
}

std::shared_ptr<void> HandleTable::find(uint64_t handle, HandleKind kind) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find(handle);
  if (found != entries_.end() && found->second.kind == kind) return found->second.object;
  throw invalid_request("handle " + std::to_string(handle) + ": is no open " + name_of(kind));
}

HandleTable::Entry HandleTable::remove(uint64_t handle) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find(handle);
  if (found == entries_.end()) return {HandleKind::kModel, nullptr};
  Entry entry = std::move(found->second);
  entries_.erase(found);
  return entry;
}

int64_t HandleTable::size() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int64_t>(entries_.size());
}

}  // namespace lfm::core
