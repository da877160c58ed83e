// Texts and tokens, prompts, and what a model wrote.
#include "answer/prompt.h"
#include "base/utf8.h"
#include "c_api/calls.h"
#include "chat/tool_calls.h"
#include "chat/tools.h"
#include "text/detokenizer.h"

using namespace lfm::core;

namespace {

// The token and the text of [id, text] in an answer that was written before.
void push_token(EventSplitter& splitter, const Json& token, Json::Array& events) {
  const bool fits = token.is_array() && token.array().size() == 2 && token.array()[1].is_string() &&
                    (token.array()[0].is_null() || token.array()[0].is_integer());
  if (!fits) throw invalid_request("tokens: expected pairs of an id and a text");
  const Json& id = token.array()[0];
  for (Event& event : splitter.push(id.is_null() ? -1 : id.integer(), token.array()[1].string())) {
    events.push_back(as_json(as_piece(std::move(event))));
  }
}

Json split_answer(const Json& answer) {
  require_fields(answer, "answer", {"special_tokens", "in_reasoning", "tools", "tokens"});
  const Json &special = answer["special_tokens"], &tokens = answer["tokens"];
  if (!special.is_null() && !special.is_object()) {
    throw out_of_range("special_tokens", special, "an object of ids by text");
  }
  if (!tokens.is_null() && !tokens.is_array()) {
    throw out_of_range("tokens", tokens, "a list of pairs of an id and a text");
  }
  const auto id_of = [&](std::string_view marker) {
    return special[marker].is_integer() ? special[marker].integer() : -1;
  };
  EventSplitter splitter(Markers::of(id_of), tool_names(answer["tools"]),
                         require_flag(answer["in_reasoning"], "in_reasoning"));
  Json::Array events;
  for (const Json& token : tokens.array()) push_token(splitter, token, events);
  for (Event& event : splitter.finish()) events.push_back(as_json(as_piece(std::move(event))));
  return Json(std::move(events));
}

// A text of so many bytes, which may hold zeros.
std::string_view text_of(const char* text, int64_t length) {
  if (length < 0) {
    throw invalid_request("length: got " + std::to_string(length) + ", expected 0 or more");
  }
  if (length > 0) require_place(text, "text");
  return {length > 0 ? text : "", static_cast<size_t>(length)};
}

}  // namespace

LfmStatus lfm_encode(LfmModel model, const char* text, int64_t length, int32_t special,
                     int32_t* ids, int64_t size, int64_t* count) {
  return guarded([&] {
    const std::string_view given = text_of(text, length);
    return give_ids(model_of(model)->tokenizer().encode(given, special != 0), ids, size, count);
  });
}

LfmStatus lfm_decode(LfmModel model, const int32_t* ids, int64_t count, char* buffer, size_t size,
                     size_t* needed) {
  return guarded([&] {
    const std::shared_ptr<Model> opened = model_of(model);
    Detokenizer detokenizer(opened->tokenizer());
    std::string text;
    for (const int32_t id : given_ids(ids, count)) text += detokenizer.push(id);
    return give_text(text + detokenizer.finish(), buffer, size, needed);
  });
}

LfmStatus lfm_prompt(LfmModel model, const char* request, int32_t* ids, int64_t size,
                     int64_t* count) {
  return guarded([&] {
    const std::shared_ptr<Model> opened = model_of(model);
    const Json given = require_json(request, "request");
    require_fields(given, "request",
                   {"messages", "tools", "template_options", "clock", "trust_markers"});
    tool_names(given["tools"]);
    const Chat chat{given["messages"], given["tools"], given["template_options"],
                    require_clock(given["clock"]),
                    require_flag(given["trust_markers"], "trust_markers")};
    return give_ids(chat_ids(*opened, chat, INT64_MAX), ids, size, count);
  });
}

LfmStatus lfm_parse_tool_calls(const char* text, int64_t length, const char* tools, char* buffer,
                               size_t size, size_t* needed) {
  return guarded([&] {
    const ToolNames names = tool_names(optional_json(tools, "tools"));
    Json::Array calls;
    const std::string_view given = text_of(text, length);
    if (!is_utf8(given)) throw invalid_request("text: invalid UTF-8");
    for (ToolCall& call : parse_tool_calls(given, names)) {
      calls.push_back(Json::Object{{"name", call.name}, {"arguments", std::move(call.arguments)}});
    }
    return give_json(Json(std::move(calls)), buffer, size, needed);
  });
}

LfmStatus lfm_split_events(const char* answer, char* buffer, size_t size, size_t* needed) {
  return guarded([&] {
    return give_json(split_answer(require_json(answer, "answer")), buffer, size, needed);
  });
}
