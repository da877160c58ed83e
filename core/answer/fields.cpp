#include "answer/fields.h"

#include <algorithm>

#include "chat/characters.h"
#include "engine/token_ids.h"

namespace lfm::core {

Error invalid_request(const std::string& message) { return {LFM_INVALID_REQUEST, message}; }

void require_fields(const Json& value, const std::string& what,
                    std::initializer_list<const char*> names) {
  if (value.is_null()) return;
  if (!value.is_object()) throw invalid_request(what + ": expected a JSON object");
  for (const Json::Member& member : value.object()) {
    if (std::find(names.begin(), names.end(), member.first) == names.end()) {
      throw invalid_request(what + ": unknown field " + python_repr(Json(member.first)));
    }
  }
}

bool is_whole(const Json& value) {
  return value.is_integer() ||
         (value.is_number() && value.number_text().find_first_of(".eE") == std::string::npos);
}

Error out_of_range(const std::string& name, const Json& value, const std::string& expected) {
  return invalid_request(name + ": got " + python_repr(value) + ", expected " + expected);
}

int64_t require_whole(const Json& value, const std::string& name, int64_t least) {
  if (value.is_integer() && value.integer() >= least) return value.integer();
  if (!value.is_integer() && is_whole(value) && value.number() > 0) return INT64_MAX;
  throw out_of_range(name, value, "an integer of " + std::to_string(least) + " or more");
}

bool require_flag(const Json& value, const std::string& name) {
  if (!value.is_null() && !value.is_bool()) throw out_of_range(name, value, "true or false");
  return value.boolean();
}

std::vector<int32_t> require_token_ids(const Json& value, int64_t vocab_size) {
  if (!value.is_array()) throw out_of_range("token ids", value, "a flat list of integers");
  std::vector<int32_t> ids;
  ids.reserve(value.array().size());
  for (const Json& id : value.array()) {
    if (!is_whole(id)) throw out_of_range("token ids", id, "a flat list of integers");
    const bool known = id.is_integer() && id.integer() >= 0 && id.integer() < vocab_size;
    if (!known) {
      throw Error(LFM_UNKNOWN_TOKEN, "token id " + python_repr(id) +
                                         ": outside the vocabulary, expected 0 to " +
                                         std::to_string(vocab_size - 1));
    }
    ids.push_back(static_cast<int32_t>(id.integer()));
  }
  require_ids(ids, vocab_size);
  return ids;
}

}  // namespace lfm::core
