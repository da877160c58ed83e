// A streamed answer as events: reasoning, text and tool calls.
//
// How an answer is divided is said in lfm_edge/chat/events.py. The events do not depend on how the
// text was cut into pieces, but for where adjacent reasoning or text is cut. No part of a marker
// gets out, and none of the rest is lost.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chat/calls.h"
#include "chat/markers.h"

namespace lfm::core {

struct Reasoning {
  std::string text;  // as the model wrote it, never empty
};

struct Text {
  std::string text;  // as the model wrote it, never empty
};

using Event = std::variant<Reasoning, Text, ToolCall, InvalidToolCall>;

class EventSplitter {
 public:
  // `in_reasoning`: whether the prompt ended in `<think>`.
  EventSplitter(Markers markers, ToolNames tools, bool in_reasoning);

  // Whether what comes next is reasoning.
  bool in_reasoning() const { return state_ == State::kReasoning; }

  // The events that a token completes: its id, or -1 for text without one, and the characters that
  // it completes.
  std::vector<Event> push(int64_t token, std::string_view text);

  // The events that were held back, when the answer ends.
  std::vector<Event> finish();

 private:
  enum class State { kText, kReasoning, kCall };

  void read(std::string_view text);
  void flush();
  void read_marker(std::string_view marker, bool is_token);
  bool may_end() const;
  void enter(State state);
  void pass_on(std::string_view text);
  bool may_be_calls(std::string_view text);
  void release();
  void end_without_start();
  bool holds_end() const;
  void read_again(const std::string& block);
  void end_block(std::string_view marker);
  void emit_block(ParsedCalls found);
  void emit_calls(std::vector<ToolCall> calls);
  void emit_text(bool reasoning, std::string_view text);
  void close_run();
  std::vector<Event> take_events();

  Markers markers_;
  ToolNames tools_;
  State state_ = State::kText;
  bool fresh_ = true;                  // nothing but white space so far
  std::string pending_;                // perhaps the start of a marker
  std::string held_;                   // a block, or text that may turn out to be calls
  char last_character_ = 0;            // of the block so far, white space apart
  std::string_view end_ = kCallEnd;    // of the block
  size_t nested_ = 0;                  // blocks of tags that a value holds
  bool behind_block_ = false;          // whether only white space stood since a block ended
  bool any_end_ = false;               // whether an end marker in the text counts anywhere
  std::vector<std::string> openings_;  // how unmarked calls begin
  size_t longest_opening_ = 0;
  std::string beginning_;  // of text that is held back, without white space
  std::vector<ToolCall> last_calls_;
  std::vector<Event> events_;
  std::string run_;  // text of the event to come
  bool run_is_reasoning_ = false;
};

}  // namespace lfm::core
