// The loop that makes an answer: prefill, sample, decode, until something ends it.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "answer/model.h"
#include "answer/options.h"
#include "answer/pieces.h"
#include "answer/prompt.h"
#include "answer/sampler.h"
#include "answer/shared_session.h"
#include "chat/loops.h"
#include "chat/thinking_budget.h"
#include "text/detokenizer.h"
#include "text/stop_strings.h"

namespace lfm::core {

// What an answer is made of.
struct Request {
  std::shared_ptr<Model> model;
  std::shared_ptr<SharedSession> session;
  std::vector<int32_t> prompt;
  AnswerOptions options;
  // Of a chat: divides the answer, and closes its reasoning. A text is given out as it is.
  std::optional<EventSplitter> splitter;
  std::optional<ThinkingBudget> budget;
};

// Set by any thread: the answer ends at the next token, as "cancelled".
using Stop = std::shared_ptr<std::atomic<bool>>;

// Of what the session holds when the first piece is asked for, the longest beginning of the prompt
// is kept. From then on it is this answer's: where something else reads it, LFM_SESSION_TAKEN.
// Stop strings are looked for in text alone; loops end answers that are divided.
class Answer {
 public:
  // LFM_CONTEXT_FULL: the session does not hold the prompt.
  Answer(Request request, Stop stop);

  // The next piece, the last of them an End; none behind it. An error ends them.
  std::optional<Piece> next();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Phase { kBegin, kPrompt, kDrawn, kDone };

  void advance();
  void begin();
  void read_prompt();
  void draw(float* logits);
  void go_on();
  const char* reason_to_end(const Session& session);
  bool is_cancelled();
  int32_t next_token(float* logits);
  void give_out(int32_t token);
  void pass(std::vector<Event> events);
  void pass_text(const std::string& text);
  void flush_stops();
  void finish(const char* reason);
  void end(const char* reason);
  double seconds() const;  // since it began

  Request request_;
  Stop stop_;
  Sampler sampler_;
  Detokenizer detokenizer_;
  StopFilter stops_;
  LoopDetector loops_;
  Reader reader_;
  Phase phase_ = Phase::kBegin;
  std::vector<int32_t> unread_;  // of the prompt
  std::vector<Run> runs_;
  size_t run_ = 0;
  int64_t replayed_ = 0;
  int32_t token_ = -1;  // the last one
  Usage usage_;
  Clock::time_point begun_;
  double time_to_first_token_ = 0;
  std::deque<Piece> pieces_;
};

// Whether an answer to this prompt starts in reasoning.
bool opens_reasoning(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt);

// Refuses what a chat_request would refuse of these options.
void check_chat_options(Model& model, const Json& options);

// A request for the answer to a chat, and one for the continuation of ids.
Request chat_request(std::shared_ptr<Model> model, std::shared_ptr<SharedSession> session,
                     const Chat& chat, const Json& options);
Request text_request(std::shared_ptr<Model> model, std::shared_ptr<SharedSession> session,
                     const Json& prompt, const Json& options);

}  // namespace lfm::core
