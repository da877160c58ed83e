// The library itself, handles of any kind, and events.
#include "c_api/calls.h"
#include "engine/ort.h"

using namespace lfm::core;

const char* lfm_core_version(void) { return "1.1"; }

int64_t lfm_open_handles(void) {
  int64_t count = 0;
  guarded([&] {
    count = HandleTable::instance().size();
    return LFM_OK;
  });
  return count;
}

LfmStatus lfm_use_onnxruntime(const char* path) {
  return guarded([&] {
    use_onnxruntime(require_path(path, "path"));
    return LFM_OK;
  });
}

LfmStatus lfm_next(LfmEvents handle, char* buffer, size_t size, size_t* needed) {
  return guarded([&] {
    const std::shared_ptr<EventStream> events = events_of(handle);
    const std::unique_lock<std::mutex> lock(events->busy(), std::try_to_lock);
    if (!lock) throw invalid_request("events: another thread is waiting for the next one");
    const std::string* event = events->peek();
    if (event == nullptr) return LFM_END;
    const LfmStatus status = give_text(*event, buffer, size, needed);
    if (status == LFM_OK) events->pop();
    return status;
  });
}

LfmStatus lfm_stop(LfmHandle handle) {
  return guarded([&] {
    events_of(handle)->stop();
    return LFM_OK;
  });
}

LfmStatus lfm_close(LfmHandle handle) {
  return guarded([&] {
    const HandleTable::Entry entry = HandleTable::instance().remove(handle);
    if (entry.object && entry.kind == HandleKind::kEvents) {
      std::static_pointer_cast<EventStream>(entry.object)->abandon();
    }
    return LFM_OK;
  });
}
