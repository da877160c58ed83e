#include "c_api/calls.h"

#include "base/utf8.h"

namespace lfm::core {
namespace {

thread_local std::string last_error;

// One line of valid UTF-8 whatever a bundle or a caller wrote: control characters are escaped.
std::string printable(const std::string& text) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string line;
  for (const char character : replaced_utf8(text)) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      line += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    } else {
      line += character;
    }
  }
  return line;
}

}  // namespace

LfmStatus failed(LfmStatus status, const std::string& message) noexcept {
  try {
    last_error = shortened(printable(message));
  } catch (...) {
    last_error.clear();
  }
  return status;
}

std::string require_text(const char* text, const char* name) {
  require_place(text, name);
  if (!is_utf8(text)) throw invalid_request(std::string(name) + ": the text is not valid UTF-8");
  return text;
}

std::string require_path(const char* path, const char* name) {
  require_place(path, name);
  return path;
}

Json optional_json(const char* text, const char* name) {
  return text == nullptr ? Json() : require_json(text, name);
}

Json require_json(const char* text, const char* name) {
  require_place(text, name);
  try {
    return Json::parse(text, name);
  } catch (const Error& error) {
    throw invalid_request(error.what());
  }
}

void require_place(const void* place, const char* name) {
  if (place == nullptr) throw invalid_request(std::string(name) + ": got a null pointer");
}

std::vector<int32_t> given_ids(const int32_t* ids, int64_t count) {
  if (count < 0)
    throw invalid_request("count: got " + std::to_string(count) + ", expected 0 or more");
  if (count > 0) require_place(ids, "ids");
  return {ids, ids + count};
}

LfmStatus give_text(const std::string& text, char* buffer, size_t size, size_t* needed) {
  if (needed != nullptr) *needed = text.size() + 1;
  if (buffer == nullptr || size <= text.size()) return LFM_BUFFER;
  std::memcpy(buffer, text.c_str(), text.size() + 1);
  return LFM_OK;
}

LfmStatus give_json(const Json& value, char* buffer, size_t size, size_t* needed) {
  return give_text(value.dump(), buffer, size, needed);
}

LfmStatus give_ids(const std::vector<int32_t>& found, int32_t* ids, int64_t size, int64_t* count) {
  if (count != nullptr) *count = static_cast<int64_t>(found.size());
  if (found.empty()) return LFM_OK;
  if (ids == nullptr || size < static_cast<int64_t>(found.size())) return LFM_BUFFER;
  std::memcpy(ids, found.data(), found.size() * sizeof(int32_t));
  return LFM_OK;
}

namespace {

template <typename Object>
std::shared_ptr<Object> object_of(uint64_t handle, HandleKind kind) {
  return std::static_pointer_cast<Object>(HandleTable::instance().find(handle, kind));
}

}  // namespace

std::shared_ptr<Model> model_of(LfmModel handle) {
  return object_of<Model>(handle, HandleKind::kModel);
}

std::shared_ptr<SessionHandle> session_of(LfmSession handle) {
  return object_of<SessionHandle>(handle, HandleKind::kSession);
}

std::shared_ptr<Conversation> conversation_of(LfmConversation handle) {
  return object_of<Conversation>(handle, HandleKind::kConversation);
}

std::shared_ptr<EventStream> events_of(LfmEvents handle) {
  return object_of<EventStream>(handle, HandleKind::kEvents);
}

}  // namespace lfm::core

const char* lfm_last_error(void) { return lfm::core::last_error.c_str(); }
