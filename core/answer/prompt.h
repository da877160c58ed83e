// From what is asked for to the ids of a prompt, as lfm_edge/model.py and chat/prompt.py do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "answer/model.h"

namespace lfm::core {

// What a prompt is rendered from; null where it is not given.
struct Chat {
  Json messages;
  Json tools;
  Json template_options;
  std::string clock;  // YYYY-MM-DDTHH:MM:SS
  bool trust_markers = false;
};

// Now, where this device is.
std::string local_time();

// A time in ISO's form, with fractions and an offset or without, as chat formats take it.
// LFM_INVALID_REQUEST: it is none.
std::string require_clock(const Json& clock);

// The ids of a chat's prompt, of which there may be `most`. LFM_INVALID_REQUEST: there are no
// messages, or they are malformed. LFM_TEMPLATE: they are refused. LFM_CONTEXT_FULL.
std::vector<int32_t> chat_ids(Model& model, const Chat& chat, int64_t most);

// The ids of a text that is to be continued: with the token that begins one.
std::vector<int32_t> text_ids(Model& model, const std::string& text, int64_t most);

// LFM_CONTEXT_FULL: a prompt of so many tokens does not fit.
void require_room(int64_t tokens, int64_t most, const char* about = "");

}  // namespace lfm::core
