// Fields of the JSON that callers hand over, and what is said of wrong ones.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace lfm::core {

Error invalid_request(const std::string& message);

// LFM_INVALID_REQUEST: `value` is neither null nor an object, or has other fields than these.
void require_fields(const Json& value, const std::string& what,
                    std::initializer_list<const char*> names);

// Whether it is a whole number, as Python reads JSON, also one beyond 64 bits.
bool is_whole(const Json& value);

// "NAME: got VALUE, expected EXPECTED", with the value as Python shows it.
Error out_of_range(const std::string& name, const Json& value, const std::string& expected);

// A whole number of at least this; one beyond 64 bits is the largest of them.
int64_t require_whole(const Json& value, const std::string& name, int64_t least);

// true or false; null is false.
bool require_flag(const Json& value, const std::string& name);

// Python's ids out of a JSON list. LFM_INVALID_REQUEST: they are no integers. LFM_UNKNOWN_TOKEN:
// one lies outside the vocabulary.
std::vector<int32_t> require_token_ids(const Json& value, int64_t vocab_size);

}  // namespace lfm::core
