// What every function of the C ABI does around its work: errors become a status, handles objects,
// and results go into the caller's buffers.
#pragma once

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "answer/fields.h"
#include "answer/model.h"
#include "answer/shared_session.h"
#include "c_api/event_stream.h"
#include "c_api/handles.h"
#include "lfm_core.h"

namespace lfm::core {

// A session as callers have it: of a model.
struct SessionHandle {
  std::shared_ptr<Model> model;
  std::shared_ptr<SharedSession> session;
};

// Keeps a message for lfm_last_error, and gives its status.
LfmStatus failed(LfmStatus status, const std::string& message) noexcept;

// What `work` returns, or what it throws as a status.
template <typename Work>
LfmStatus guarded(const Work& work) noexcept {
  try {
    return work();
  } catch (const Error& error) {
    return failed(error.status(), error.message());
  } catch (const std::bad_alloc&) {
    return failed(LFM_NO_MEMORY, "there is not enough memory");
  } catch (const std::exception& error) {
    return failed(LFM_FAILED, error.what());
  } catch (...) {
    return failed(LFM_FAILED, "an error of an unknown kind");
  }
}

// A text that a caller must give; LFM_INVALID_REQUEST: it is null, or no UTF-8.
std::string require_text(const char* text, const char* name);
// A path, of any bytes.
std::string require_path(const char* path, const char* name);
// JSON, or null for a null pointer; LFM_INVALID_REQUEST: it is malformed.
Json optional_json(const char* text, const char* name);
Json require_json(const char* text, const char* name);
// LFM_INVALID_REQUEST: a place for a result is null.
void require_place(const void* place, const char* name);

// The ids that a caller has, count of them.
std::vector<int32_t> given_ids(const int32_t* ids, int64_t count);

// Writes a result, or says that it does not fit.
LfmStatus give_text(const std::string& text, char* buffer, size_t size, size_t* needed);
LfmStatus give_json(const Json& value, char* buffer, size_t size, size_t* needed);
LfmStatus give_ids(const std::vector<int32_t>& found, int32_t* ids, int64_t size, int64_t* count);

std::shared_ptr<Model> model_of(LfmModel handle);
std::shared_ptr<SessionHandle> session_of(LfmSession handle);
std::shared_ptr<Conversation> conversation_of(LfmConversation handle);
std::shared_ptr<EventStream> events_of(LfmEvents handle);

// Opens a handle for an object and writes it.
template <typename Object>
LfmStatus give_handle(HandleKind kind, std::shared_ptr<Object> object, uint64_t* handle) {
  *handle = HandleTable::instance().add(kind, std::move(object));
  return LFM_OK;
}

}  // namespace lfm::core
