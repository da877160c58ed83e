#include "answer/conversation.h"

#include <algorithm>
#include <limits>

#include "answer/fields.h"
#include "chat/characters.h"
#include "chat/python_text.h"
#include "chat/tools.h"

namespace lfm::core {
namespace {

bool has_role(const Json& message, const char* role) { return message["role"] == Json(role); }

Json user_says(const std::string& text) {
  return Json::Object{{"role", "user"}, {"content", text}};
}

Json::Array require_messages(const Json& messages, const char* what) {
  if (messages.is_null()) return {};
  if (!messages.is_array())
    throw invalid_request(std::string(what) + ": expected a list of messages");
  for (size_t i = 0; i < messages.array().size(); ++i) {
    const Json& message = messages.array()[i];
    if (message.is_object()) continue;
    throw invalid_request("messages[" + std::to_string(i) + "]: got a " + type_name(message) +
                          ", expected a mapping");
  }
  return messages.array();
}

// The capacity for the context that was asked for; 0 is no default here.
int64_t capacity_of(const Bundle& bundle, const Json& context) {
  if (context.is_null()) return capacity_for(bundle, 0);
  if (context.is_integer() && context.integer() != 0) {
    return capacity_for(bundle, context.integer());
  }
  const int64_t most = bundle.manifest().model.max_context;
  throw out_of_range("context", context, "1 to " + grouped(most) + ", the most this bundle holds");
}

}  // namespace

Conversation::Conversation(std::shared_ptr<Model> model, std::shared_ptr<SharedSession> session,
                           Json::Array messages, Setting setting)
    : model_(std::move(model)),
      session_(std::move(session)),
      messages_(std::move(messages)),
      setting_(std::move(setting)) {}

std::shared_ptr<Conversation> Conversation::open(std::shared_ptr<Model> model,
                                                 const Json& setting) {
  require_fields(setting, "setting",
                 {"system", "tools", "template_options", "clock", "messages", "context"});
  tool_names(setting["tools"]);
  Json::Array messages = require_messages(setting["messages"], "messages");
  if (const Json& system = setting["system"]; !system.is_null()) {
    messages.insert(messages.begin(), Json::Object{{"role", "system"}, {"content", system}});
  }
  const Json& options = setting["template_options"];
  if (!options.is_null() && !options.is_object()) {
    throw out_of_range("template_options", options, "an object");
  }
  Setting kept{setting["tools"], options, require_clock(setting["clock"])};
  const int64_t capacity = capacity_of(model->bundle(), setting["context"]);
  auto session = std::make_unique<Session>(model->runtime(), capacity);
  return std::shared_ptr<Conversation>(
      new Conversation(std::move(model), std::make_shared<SharedSession>(std::move(session)),
                       std::move(messages), std::move(kept)));
}

std::shared_ptr<Conversation> Conversation::load(std::shared_ptr<Model> model,
                                                 const std::string& path, int64_t context) {
  OpenedSession opened = Session::open(model->runtime(), path, context);
  try {
    const Json saved = Json::parse(opened.attached, path);
    const bool whole = saved["messages"].is_array() && saved.has("tools") &&
                       saved.has("template_options") && saved["clock"].is_string();
    const Json& options = saved["template_options"];
    if (!whole || !(options.is_null() || options.is_object())) throw invalid_request(path);
    for (const Json& message : saved["messages"].array()) {
      if (!message.is_object()) throw invalid_request(path);
    }
    tool_names(saved["tools"]);
    require_clock(saved["clock"]);
    return std::shared_ptr<Conversation>(new Conversation(
        std::move(model), std::make_shared<SharedSession>(std::move(opened.session)),
        saved["messages"].array(), {saved["tools"], options, saved["clock"].string()}));
  } catch (const Error&) {
    throw Error(LFM_SESSION_FILE,
                path + ": holds a session, but no conversation; open it by Session.open");
  }
}

std::unique_ptr<Turn> Conversation::send(const Json& message, const Json& options, Stop stop) {
  Json::Array messages = this->messages().array();
  if (message.is_string()) {
    messages.push_back(user_says(message.string()));
  } else if (message.is_object()) {
    messages.push_back(message);
  } else if (message.is_array()) {
    messages.insert(messages.end(), message.array().begin(), message.array().end());
  } else {
    throw invalid_request("message: got " + python_repr(message) +
                          ", expected a text or a list of messages");
  }
  return answer(std::move(messages), options, std::move(stop));
}

std::unique_ptr<Turn> Conversation::regenerate(const Json& options, Stop stop) {
  Json::Array asked = messages().array();
  while (!asked.empty() && has_role(asked.back(), "assistant")) asked.pop_back();
  bool something = false;
  for (const Json& message : asked) something = something || !has_role(message, "system");
  if (!something) throw invalid_request("there is no message to answer; send one first");
  return answer(std::move(asked), options, std::move(stop));
}

std::unique_ptr<Turn> Conversation::edit(int64_t turn, const std::string& text, const Json& options,
                                         Stop stop) {
  Json::Array messages = this->messages().array();
  std::vector<size_t> places;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (has_role(messages[i], "user")) places.push_back(i);
  }
  const auto count = static_cast<int64_t>(places.size());
  if (turn < -count || turn >= count) {
    throw invalid_request("edit: got turn " + std::to_string(turn) + ", but the user has said " +
                          std::to_string(count) + " things");
  }
  const size_t place = places[static_cast<size_t>(turn < 0 ? turn + count : turn)];
  messages.resize(place + 1);
  messages.back().set("content", text);
  return answer(std::move(messages), options, std::move(stop));
}

std::unique_ptr<Turn> Conversation::answer(Json::Array messages, const Json& options, Stop stop) {
  Request request = chat_request(model_, session_, chat_of(messages), options);
  return std::make_unique<Turn>(shared_from_this(), std::move(messages), std::move(request),
                                std::move(stop));
}

Chat Conversation::chat_of(Json::Array messages) const {
  return {Json(std::move(messages)), setting_.tools, setting_.template_options,
          require_clock(setting_.clock)};
}

// The prompt if the user said this now.
std::vector<int32_t> Conversation::next_prompt(const char* text) const {
  Json::Array said = messages().array();
  said.push_back(user_says(text));
  return chat_ids(*model_, chat_of(std::move(said)), std::numeric_limits<int64_t>::max());
}

void Conversation::check(const Json& options) const { check_chat_options(*model_, options); }

int64_t Conversation::warm() {
  std::vector<int32_t> shared = next_prompt("a");
  const std::vector<int32_t> other = next_prompt("b");
  const auto [end, _] = std::mismatch(shared.begin(), shared.end(), other.begin(), other.end());
  shared.erase(end, shared.end());
  const SharedSession::Use session(*session_);
  const std::vector<int32_t>& held = session->ids();
  const bool is_held =
      held.size() >= shared.size() && std::equal(shared.begin(), shared.end(), held.begin());
  if (is_held) return 0;
  const std::vector<int32_t> unread = session->resume(shared);
  session->prefill(unread);
  return static_cast<int64_t>(unread.size());
}

std::shared_ptr<Conversation> Conversation::fork() const {
  auto session = std::make_shared<SharedSession>(SharedSession::Use(*session_)->fork());
  return std::shared_ptr<Conversation>(
      new Conversation(model_, std::move(session), messages().array(), setting_));
}

Json Conversation::messages() const {
  const std::lock_guard<std::mutex> lock(changing_);
  return Json(messages_);
}

void Conversation::set_messages(const Json& messages) {
  Json::Array taken = require_messages(messages, "messages");
  const std::lock_guard<std::mutex> lock(changing_);
  messages_ = std::move(taken);
}

void Conversation::save(const std::string& path) const {
  const Json saved = Json::Object{{"messages", messages()},
                                  {"tools", setting_.tools},
                                  {"template_options", setting_.template_options},
                                  {"clock", setting_.clock}};
  SharedSession::Use(*session_)->save(path, python_json(saved));
}

}  // namespace lfm::core
