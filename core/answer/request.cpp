// From options to a request.
#include <algorithm>

#include "answer/answer.h"
#include "answer/fields.h"
#include "chat/characters.h"
#include "chat/tools.h"

namespace lfm::core {
namespace {

constexpr size_t kLongestOpening = 16;  // tokens that hold <think> and white space, spelled however

std::string decoded(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  Detokenizer detokenizer(tokenizer);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.push(id);
  return text + detokenizer.finish();
}

ThinkingBudget make_budget(const Json& most, std::vector<int32_t> closing) {
  if (!is_whole(most) || !(most.number() >= 0) || closing.empty()) {
    throw invalid_request("thinking budget: got " + python_repr(most) + " tokens and " +
                          std::to_string(closing.size()) +
                          " to close with, expected 0 or more and at least 1");
  }
  return {most.is_integer() ? most.integer() : INT64_MAX, std::move(closing)};
}

std::optional<ThinkingBudget> budget_of(const AnswerOptions& options, const Tokenizer& tokenizer) {
  if (options.thinking_budget.is_null()) return std::nullopt;
  const std::string closing = std::string(kThinkEnd) + "\n\n";
  return make_budget(options.thinking_budget, tokenizer.encode_prompt(closing, {}));
}

}  // namespace

bool opens_reasoning(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt) {
  const size_t count = std::min(prompt.size(), kLongestOpening);
  return opens_reasoning(
      decoded(tokenizer, {prompt.end() - static_cast<std::ptrdiff_t>(count), prompt.end()}));
}

Request chat_request(std::shared_ptr<Model> model, std::shared_ptr<SharedSession> session,
                     const Chat& chat, const Json& options) {
  ToolNames tools = tool_names(chat.tools);
  std::vector<int32_t> prompt = chat_ids(*model, chat, session->capacity());
  AnswerOptions read =
      read_options(options, OptionSet::kAnswer, model->defaults(), model->vocab_size());
  const Tokenizer& tokenizer = model->tokenizer();
  const auto id_of = [&](std::string_view marker) { return tokenizer.added_id(marker); };
  EventSplitter splitter(Markers::of(id_of), std::move(tools), opens_reasoning(tokenizer, prompt));
  std::optional<ThinkingBudget> budget = budget_of(read, tokenizer);
  return {std::move(model), std::move(session),  std::move(prompt),
          std::move(read),  std::move(splitter), std::move(budget)};
}

void check_chat_options(Model& model, const Json& options) {
  const AnswerOptions read =
      read_options(options, OptionSet::kAnswer, model.defaults(), model.vocab_size());
  budget_of(read, model.tokenizer());
}

Request text_request(std::shared_ptr<Model> model, std::shared_ptr<SharedSession> session,
                     const Json& prompt, const Json& options) {
  const bool empty = prompt.is_array() && prompt.array().empty();
  if (empty) throw invalid_request("the prompt is empty; expected some text");
  std::vector<int32_t> ids = prompt.is_string()
                                 ? text_ids(*model, prompt.string(), session->capacity())
                                 : require_token_ids(prompt, model->vocab_size());
  AnswerOptions read =
      read_options(options, OptionSet::kGeneration, model->defaults(), model->vocab_size());
  return {std::move(model), std::move(session), std::move(ids), std::move(read), {}, {}};
}

}  // namespace lfm::core
