#include "answer/conversation.h"

namespace lfm::core {

Turn::Turn(std::shared_ptr<Conversation> conversation, Json::Array messages, Request request,
           Stop stop)
    : conversation_(std::move(conversation)),
      messages_(std::move(messages)),
      answer_(std::move(request), std::move(stop)) {}

std::optional<Piece> Turn::next(const std::atomic<bool>& abandoned) {
  std::optional<Piece> piece = answer_.next();
  if (!piece) return piece;
  listen(*piece);
  const End* end = std::get_if<End>(&*piece);
  if (end && !abandoned.load()) take_note(*end);
  return piece;
}

void Turn::listen(const Piece& piece) {
  if (const Text* text = std::get_if<Text>(&piece)) {
    content_ += text->text;
  } else if (const InvalidToolCall* invalid = std::get_if<InvalidToolCall>(&piece)) {
    content_ += invalid->text;
  } else if (const Reasoning* reasoning = std::get_if<Reasoning>(&piece)) {
    thinking_ += reasoning->text;
  } else if (const ToolCall* call = std::get_if<ToolCall>(&piece)) {
    calls_.push_back(Json::Object{
        {"type", "function"},
        {"function", Json::Object{{"name", call->name}, {"arguments", call->arguments}}}});
  }
}

void Turn::take_note(const End& end) {
  const bool said = !content_.empty() || !thinking_.empty() || !calls_.empty();
  if (!said && end.reason == "cancelled") return;
  Json answer(Json::Object{{"role", "assistant"}, {"content", content_}});
  if (!thinking_.empty()) answer.set("thinking", thinking_);
  if (!calls_.empty()) answer.set("tool_calls", std::move(calls_));
  messages_.push_back(std::move(answer));
  conversation_->set_messages(std::move(messages_));
}

}  // namespace lfm::core
