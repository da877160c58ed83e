// What an answer is made of, as it comes, and as JSON (lfm_core.h).
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "base/json.h"
#include "bundle/bundle.h"
#include "chat/events.h"

namespace lfm::core {

// Tokens of a turn.
struct Usage {
  int64_t reused = 0;     // of the prompt, those that the session held already
  int64_t processed = 0;  // those that were run before the first new one
  int64_t generated = 0;
  int64_t reasoning = 0;  // of the new ones, with the markers around it
};

// The last piece of an answer.
struct End {
  std::string reason;  // "eos", "stop", "length", "context", "cancelled" or "loop"
  Usage usage;
  double time_to_first_token = 0, total = 0;  // seconds
};

using Piece = std::variant<Progress, Reasoning, Text, ToolCall, InvalidToolCall, End>;

Json as_json(const Piece& piece);

// An event of the answer as a piece.
Piece as_piece(Event event);

}  // namespace lfm::core
