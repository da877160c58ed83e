#include "chat/events.h"

#include <algorithm>
#include <set>
#include <utility>

#include "chat/call_block.h"
#include "chat/characters.h"
#include "chat/openings.h"

namespace lfm::core {
namespace {

bool starts_with(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

// The marker that stands at a position of a text, or "".
std::string_view marker_at(const std::vector<std::string_view>& markers, std::string_view text) {
  for (const std::string_view marker : markers) {
    if (starts_with(text, marker)) return marker;
  }
  return {};
}

bool begins_marker(const std::vector<std::string_view>& markers, std::string_view text) {
  return std::any_of(markers.begin(), markers.end(), [&](std::string_view marker) {
    return text.size() < marker.size() && starts_with(marker, text);
  });
}

// What may stand before an end marker that is found in the text.
bool may_stand_before(std::string_view end, char character) {
  const std::string_view closing = end == kXmlCallEnd ? ">])}" : "])}";
  return character == 0 || closing.find(character) != closing.npos;
}

}  // namespace

bool opens_reasoning(std::string_view prompt) {
  const std::string_view text = right_stripped(prompt);
  return text.size() >= kThinkStart.size() &&
         text.substr(text.size() - kThinkStart.size()) == kThinkStart;
}

EventSplitter::EventSplitter(Markers markers, ToolNames tools, bool in_reasoning)
    : markers_(std::move(markers)), tools_(std::move(tools)) {
  enter(in_reasoning ? State::kReasoning : State::kText);
}

std::vector<Event> EventSplitter::push(int64_t token, std::string_view text) {
  const std::string_view marker = markers_.of_token(token);
  if (marker.empty()) {
    read(text);
    return take_events();
  }
  // Before it there may be what an unfinished character left.
  const bool ends_in_it =
      text.size() >= marker.size() && text.substr(text.size() - marker.size()) == marker;
  read(ends_in_it ? text.substr(0, text.size() - marker.size()) : text);
  flush();
  read_marker(marker, true);
  return take_events();
}

std::vector<Event> EventSplitter::finish() {
  flush();
  if (state_ == State::kCall && holds_end()) {
    read_again(std::exchange(held_, {}));
    flush();
  }
  if (state_ == State::kCall) {
    emit_block(parse_block(held_, tools_, false));
  } else if (!held_.empty()) {
    ParsedCalls found = parse_unmarked(held_, tools_);
    if (found.calls.empty()) {
      release();
    } else {
      emit_calls(std::move(found.calls));
    }
  }
  return take_events();
}

// Divides text at its markers, and keeps an end of it that may begin one.
void EventSplitter::read(std::string_view added) {
  const std::string text = std::exchange(pending_, {}).append(added);
  const std::string_view whole = text;
  size_t begin = 0;
  for (size_t at = text.find('<'); at != text.npos; at = text.find('<', at)) {
    const std::string_view marker = marker_at(markers_.in_text(), whole.substr(at));
    if (!marker.empty()) {
      pass_on(whole.substr(begin, at - begin));
      read_marker(marker, false);
      begin = at += marker.size();
    } else if (begins_marker(markers_.in_text(), whole.substr(at))) {
      pass_on(whole.substr(begin, at - begin));
      pending_ = whole.substr(at);
      return;
    } else {
      ++at;
    }
  }
  pass_on(whole.substr(begin));
}

void EventSplitter::flush() { pass_on(std::exchange(pending_, {})); }

void EventSplitter::read_marker(std::string_view marker, bool is_token) {
  if (state_ == State::kReasoning && marker == kThinkEnd) {
    enter(State::kText);
  } else if (state_ == State::kText && marker == kThinkStart && fresh_) {
    release();
    enter(State::kReasoning);
  } else if (state_ == State::kText && (marker == kCallStart || marker == kXmlCallStart)) {
    if (behind_block_) held_.clear();
    release();
    enter(State::kCall);
    end_ = marker == kCallStart ? kCallEnd : kXmlCallEnd;
  } else if (state_ == State::kText && (marker == kCallEnd || marker == kXmlCallEnd)) {
    end_without_start();
  } else if (state_ == State::kCall && marker == end_ && (is_token || may_end())) {
    end_block(marker);
  } else {
    if (end_ == kXmlCallEnd && marker == kXmlCallStart) ++nested_;
    if (end_ == kXmlCallEnd && marker == kXmlCallEnd && nested_ > 0) --nested_;
    pass_on(marker);
  }
}

bool EventSplitter::may_end() const {
  return any_end_ || (nested_ == 0 && may_stand_before(end_, last_character_));
}

void EventSplitter::enter(State state) {
  state_ = state;
  fresh_ = true;
  last_character_ = 0;
  nested_ = 0;
  behind_block_ = false;
  beginning_.clear();
  openings_.clear();
  if (state != State::kText) return;
  std::set<std::string> names;
  for (const auto& [name, parameters] : tools_) names.insert(name);
  for (const ToolCall& call : last_calls_) names.insert(call.name);
  openings_ = openings_of_calls(names);
  longest_opening_ = 0;
  for (const std::string& opening : openings_) {
    longest_opening_ = std::max(longest_opening_, opening.size());
  }
}

void EventSplitter::pass_on(std::string_view text) {
  if (text.empty()) return;
  const std::string_view visible = right_stripped(text);
  fresh_ = fresh_ && visible.empty();
  behind_block_ = behind_block_ && visible.empty();
  if (state_ == State::kReasoning) {
    emit_text(true, text);
    return;
  }
  held_ += text;
  if (state_ == State::kCall) {
    if (!visible.empty()) last_character_ = visible.back();
  } else if (!behind_block_ && !may_be_calls(text)) {
    release();
  }
}

// Whether the text held back begins as unmarked calls do, or still may.
bool EventSplitter::may_be_calls(std::string_view text) {
  if (openings_.empty()) return false;
  if (beginning_.size() < longest_opening_) {
    beginning_ += without_space(text).substr(0, longest_opening_);
  }
  return std::any_of(openings_.begin(), openings_.end(), [&](const std::string& opening) {
    return starts_with(beginning_, opening) || starts_with(opening, beginning_);
  });
}

// Lets out the text that was held back, and holds back no more of it.
void EventSplitter::release() {
  openings_.clear();
  emit_text(false, std::exchange(held_, {}));
}

void EventSplitter::end_without_start() {
  ParsedCalls found = parse_block(held_, tools_);
  if (!found.errors.empty() || found.calls.empty()) {
    release();
    return;
  }
  held_.clear();
  if (!(found.calls == last_calls_)) emit_calls(std::move(found.calls));
  enter(State::kText);
}

// Whether the block holds an end marker that was taken for its text.
bool EventSplitter::holds_end() const {
  const std::vector<std::string_view>& in_text = markers_.in_text();
  const bool found = std::find(in_text.begin(), in_text.end(), end_) != in_text.end();
  return found && !any_end_ && held_.find(end_) != held_.npos;
}

// Reads on from a block's start, with each end marker taken for what it is.
void EventSplitter::read_again(const std::string& block) {
  any_end_ = true;
  held_.clear();
  read(block);
}

void EventSplitter::end_block(std::string_view marker) {
  ParsedCalls found = parse_block(held_, tools_);
  if (!found.errors.empty() && holds_end()) {
    read_again(std::exchange(held_, {}).append(marker));
  } else {
    emit_block(std::move(found));
  }
}

void EventSplitter::emit_block(ParsedCalls found) {
  held_.clear();
  emit_calls(std::move(found.calls));
  for (InvalidToolCall& error : found.errors) events_.emplace_back(std::move(error));
  enter(State::kText);
  behind_block_ = true;
}

void EventSplitter::emit_calls(std::vector<ToolCall> calls) {
  close_run();
  for (const ToolCall& call : calls) events_.emplace_back(call);
  last_calls_ = std::move(calls);
}

// Joins pieces of one kind that come at once.
void EventSplitter::emit_text(bool reasoning, std::string_view text) {
  if (text.empty()) return;
  if (reasoning != run_is_reasoning_) close_run();
  run_is_reasoning_ = reasoning;
  run_ += text;
}

void EventSplitter::close_run() {
  if (run_.empty()) return;
  if (run_is_reasoning_) {
    events_.emplace_back(Reasoning{std::exchange(run_, {})});
  } else {
    events_.emplace_back(Text{std::exchange(run_, {})});
  }
}

std::vector<Event> EventSplitter::take_events() {
  close_run();
  return std::exchange(events_, {});
}

}  // namespace lfm::core
