// Answers and conversations.
#include <algorithm>

#include "c_api/calls.h"

using namespace lfm::core;

namespace {

// Takes a prompt out of a request, which leaves its options.
Json take_prompt(Json& request) {
  if (!request.is_object()) throw invalid_request("request: expected a JSON object");
  Json::Object& fields = request.object();
  const auto is_prompt = [](const Json::Member& member) {
    return member.first == "text" || member.first == "ids";
  };
  const auto place = std::find_if(fields.begin(), fields.end(), is_prompt);
  if (place == fields.end()) throw invalid_request("request: expected a text or ids");
  Json prompt = std::move(place->second);
  const bool is_text = place->first == "text";
  fields.erase(place);
  if (std::any_of(fields.begin(), fields.end(), is_prompt)) {
    throw invalid_request("request: got a text and ids, expected one of them");
  }
  if (is_text != prompt.is_string()) {
    throw invalid_request(is_text ? "text: expected a text" : "ids: expected a list of token ids");
  }
  return prompt;
}

template <typename Begin>
LfmStatus give_turn(const Begin& begin, LfmEvents* events) {
  require_place(events, "events");
  return give_handle(HandleKind::kEvents, std::make_shared<TurnEvents>(begin), events);
}

}  // namespace

LfmStatus lfm_generate(LfmSession handle, const char* request, LfmEvents* events) {
  return guarded([&] {
    require_place(events, "events");
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    Json options = require_json(request, "request");
    const Json prompt = take_prompt(options);
    return give_handle(HandleKind::kEvents,
                       answer_events(text_request(opened->model, opened->session, prompt, options)),
                       events);
  });
}

LfmStatus lfm_conversation_open(LfmModel model, const char* setting,
                                LfmConversation* conversation) {
  return guarded([&] {
    require_place(conversation, "conversation");
    return give_handle(HandleKind::kConversation,
                       Conversation::open(model_of(model), optional_json(setting, "setting")),
                       conversation);
  });
}

LfmStatus lfm_conversation_send(LfmConversation conversation, const char* message,
                                const char* options, LfmEvents* events) {
  return guarded([&] {
    const std::shared_ptr<Conversation> opened = conversation_of(conversation);
    const Json said = require_json(message, "message"), how = optional_json(options, "options");
    return give_turn([&](const Stop& stop) { return opened->send(said, how, stop); }, events);
  });
}

LfmStatus lfm_conversation_regenerate(LfmConversation conversation, const char* options,
                                      LfmEvents* events) {
  return guarded([&] {
    const std::shared_ptr<Conversation> opened = conversation_of(conversation);
    const Json how = optional_json(options, "options");
    return give_turn([&](const Stop& stop) { return opened->regenerate(how, stop); }, events);
  });
}

LfmStatus lfm_conversation_edit(LfmConversation conversation, int64_t turn, const char* text,
                                const char* options, LfmEvents* events) {
  return guarded([&] {
    const std::shared_ptr<Conversation> opened = conversation_of(conversation);
    const std::string said = require_text(text, "text");
    const Json how = optional_json(options, "options");
    return give_turn([&](const Stop& stop) { return opened->edit(turn, said, how, stop); }, events);
  });
}

LfmStatus lfm_conversation_check(LfmConversation conversation, const char* options) {
  return guarded([&] {
    const std::shared_ptr<Conversation> opened = conversation_of(conversation);
    opened->check(optional_json(options, "options"));
    return LFM_OK;
  });
}

LfmStatus lfm_conversation_warm(LfmConversation conversation, int64_t* read) {
  return guarded([&] {
    require_place(read, "read");
    *read = conversation_of(conversation)->warm();
    return LFM_OK;
  });
}

LfmStatus lfm_conversation_fork(LfmConversation conversation, LfmConversation* fork) {
  return guarded([&] {
    require_place(fork, "fork");
    return give_handle(HandleKind::kConversation, conversation_of(conversation)->fork(), fork);
  });
}

LfmStatus lfm_conversation_messages(LfmConversation conversation, char* buffer, size_t size,
                                    size_t* needed) {
  return guarded(
      [&] { return give_json(conversation_of(conversation)->messages(), buffer, size, needed); });
}

LfmStatus lfm_conversation_set_messages(LfmConversation conversation, const char* messages) {
  return guarded([&] {
    conversation_of(conversation)->set_messages(require_json(messages, "messages"));
    return LFM_OK;
  });
}

LfmStatus lfm_conversation_session(LfmConversation conversation, LfmSession* session) {
  return guarded([&] {
    require_place(session, "session");
    const std::shared_ptr<Conversation> opened = conversation_of(conversation);
    return give_handle(
        HandleKind::kSession,
        std::make_shared<SessionHandle>(SessionHandle{opened->model(), opened->session()}),
        session);
  });
}

LfmStatus lfm_conversation_save(LfmConversation conversation, const char* path) {
  return guarded([&] {
    conversation_of(conversation)->save(require_path(path, "path"));
    return LFM_OK;
  });
}

LfmStatus lfm_conversation_load(LfmModel model, const char* path, int64_t context,
                                LfmConversation* conversation) {
  return guarded([&] {
    require_place(conversation, "conversation");
    return give_handle(HandleKind::kConversation,
                       Conversation::load(model_of(model), require_path(path, "path"), context),
                       conversation);
  });
}
