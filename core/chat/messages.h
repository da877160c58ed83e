// Messages as clients send them, made into what templates are written for.
#pragma once

#include "base/json.h"

namespace lfm::core {

// As Python's normalize_messages: no fields that are null, what was thought under each of its
// names, calls' arguments as objects. LFM_INVALID_REQUEST with the same messages.
Json normalized_messages(const Json& messages);

}  // namespace lfm::core
