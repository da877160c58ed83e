// A chat that goes on: its messages, and a session that has read most of them already.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "answer/answer.h"

namespace lfm::core {

class Conversation;

// A turn of a conversation: its answer's pieces, of which the conversation takes note. It counts
// once its End has come: given up before, it leaves no trace, and neither does one that was
// cancelled before the model had said anything.
class Turn {
 public:
  Turn(std::shared_ptr<Conversation> conversation, Json::Array asked, Request request, Stop stop);

  // As Answer::next. `abandoned`: nobody reads on, so that an End leaves no trace.
  std::optional<Piece> next(const std::atomic<bool>& abandoned);

 private:
  void listen(const Piece& piece);
  void take_note(const End& end);

  std::shared_ptr<Conversation> conversation_;
  Json::Array messages_;  // up to the one that is answered
  Answer answer_;
  std::string content_, thinking_;
  Json::Array calls_;
};

// Each turn renders all messages anew and reads only what the session does not hold already. The
// date that some templates print stays that of the beginning. Safe to share between threads.
class Conversation : public std::enable_shared_from_this<Conversation> {
 public:
  // `setting`: {"system", "tools", "template_options", "clock", "messages", "context"}, or null.
  static std::shared_ptr<Conversation> open(std::shared_ptr<Model> model, const Json& setting);

  // What `save` or Python's Conversation.save wrote. LFM_SESSION_FILE: it holds no conversation.
  static std::shared_ptr<Conversation> load(std::shared_ptr<Model> model, const std::string& path,
                                            int64_t context);

  // Says something, a text or messages, and answers; `options` are those of an answer.
  std::unique_ptr<Turn> send(const Json& message, const Json& options, Stop stop);
  // Answers the last message anew.
  std::unique_ptr<Turn> regenerate(const Json& options, Stop stop);
  // Says `text` in the user's turn `turn`, and forgets what followed.
  std::unique_ptr<Turn> edit(int64_t turn, const std::string& text, const Json& options, Stop stop);

  // Refuses what `send` would refuse of these options.
  void check(const Json& options) const;
  // Reads what every next turn begins with, such as the system prompt and the tools, and gives how
  // many tokens that took: 0 where the session held them.
  int64_t warm();
  // One that goes on by itself from here.
  std::shared_ptr<Conversation> fork() const;

  Json messages() const;
  void set_messages(const Json& messages);
  void save(const std::string& path) const;

  const std::shared_ptr<Model>& model() const { return model_; }
  const std::shared_ptr<SharedSession>& session() const { return session_; }

 private:
  // What stays the same from turn to turn.
  struct Setting {
    Json tools, template_options;
    std::string clock;  // as it was given, perhaps with fractions
  };

  Conversation(std::shared_ptr<Model> model, std::shared_ptr<SharedSession> session,
               Json::Array messages, Setting setting);

  Chat chat_of(Json::Array messages) const;
  std::vector<int32_t> next_prompt(const char* text) const;
  std::unique_ptr<Turn> answer(Json::Array messages, const Json& options, Stop stop);

  std::shared_ptr<Model> model_;
  std::shared_ptr<SharedSession> session_;
  mutable std::mutex changing_;
  Json::Array messages_;
  Setting setting_;
};

}  // namespace lfm::core
