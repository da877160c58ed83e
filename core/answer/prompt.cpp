#include "answer/prompt.h"

#include <cstdio>
#include <ctime>

#include "answer/fields.h"
#include "chat/characters.h"

namespace lfm::core {
namespace {

// Whether a text has the form of another, in which 0 stands for any digit.
bool has_form(std::string_view text, std::string_view form) {
  if (text.size() < form.size()) return false;
  for (size_t i = 0; i < form.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (form[i] == '0' ? !digit : text[i] != form[i]) return false;
  }
  return true;
}

}  // namespace

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
#if defined(_WIN32)
  localtime_s(&parts, &now);
#else
  localtime_r(&now, &parts);
#endif
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return text;
}

std::string require_clock(const Json& clock) {
  constexpr std::string_view form = "0000-00-00T00:00:00";
  if (clock.is_null()) return local_time();
  std::string text = clock.is_string() ? clock.string() : "";
  if (text.size() > 10 && text[10] == ' ') text[10] = 'T';
  const auto part = [&](size_t at) { return (text[at] - '0') * 10 + text[at + 1] - '0'; };
  const bool fits = has_form(text, form) && part(5) >= 1 && part(5) <= 12 && part(8) >= 1 &&
                    part(8) <= 31 && part(11) < 24 && part(14) < 60 && part(17) < 60;
  if (!fits) throw out_of_range("clock", clock, "YYYY-MM-DDTHH:MM:SS");
  return text.substr(0, form.size());
}

std::vector<int32_t> chat_ids(Model& model, const Chat& chat, int64_t most) {
  const bool has_messages = !chat.messages.is_array() || !chat.messages.array().empty();
  if (chat.messages.is_null() || !has_messages) {
    throw invalid_request("the chat is empty; expected at least one message");
  }
  if (!chat.messages.is_array()) throw invalid_request("messages: expected a list of messages");
  const Rendered prompt =
      model.chat().render(chat.messages, chat.tools, chat.template_options, chat.clock);
  if (prompt.text.empty()) {
    throw Error(LFM_TEMPLATE, "the chat template made an empty prompt of these messages");
  }
  const Tokenizer& tokenizer = model.tokenizer();
  require_room(tokenizer.fewest(prompt.text), most, "at least ");
  const std::vector<Range> theirs = chat.trust_markers ? std::vector<Range>() : prompt.theirs;
  std::vector<int32_t> ids = tokenizer.encode_prompt(prompt.text, theirs);
  require_room(static_cast<int64_t>(ids.size()), most);
  return ids;
}

std::vector<int32_t> text_ids(Model& model, const std::string& text, int64_t most) {
  if (text.empty()) throw invalid_request("the prompt is empty; expected some text");
  const Tokenizer& tokenizer = model.tokenizer();
  require_room(tokenizer.fewest(text), most, "at least ");
  std::vector<int32_t> ids = tokenizer.encode(text, true);
  const std::optional<int64_t>& bos = model.bundle().manifest().model.bos_token_id;
  if (!bos) return ids;
  const auto begins = [&](size_t place) { return ids.size() > place && ids[place] == *bos; };
  if (!begins(0)) ids.insert(ids.begin(), static_cast<int32_t>(*bos));
  if (begins(0) && begins(1)) ids.erase(ids.begin());  // the prompt began with it already
  return ids;
}

void require_room(int64_t tokens, int64_t most, const char* about) {
  if (tokens <= most) return;
  throw Error(LFM_CONTEXT_FULL, std::string("the prompt has ") + about + grouped(tokens) +
                                    " tokens, but the context holds " + grouped(most) +
                                    "; shorten it or take a larger context");
}

}  // namespace lfm::core
