#include "answer/answer.h"

#include <algorithm>

namespace lfm::core {
namespace {

std::vector<int32_t> silent_tokens(const ModelNumbers& model) {
  std::vector<int32_t> silent;
  for (const std::optional<int64_t>& id : {model.bos_token_id, model.pad_token_id}) {
    if (id) silent.push_back(static_cast<int32_t>(*id));
  }
  return silent;
}

}  // namespace

Answer::Answer(Request request, Stop stop)
    : request_(std::move(request)),
      stop_(std::move(stop)),
      sampler_(request_.options, request_.model->vocab_size()),
      detokenizer_(request_.model->tokenizer(),
                   silent_tokens(request_.model->bundle().manifest().model)),
      stops_(request_.options.stops),
      reader_(new_reader()) {
  require_room(static_cast<int64_t>(request_.prompt.size()), request_.session->capacity());
  sampler_.observe(request_.prompt);
}

std::optional<Piece> Answer::next() {
  try {
    while (pieces_.empty() && phase_ != Phase::kDone) advance();
  } catch (...) {
    phase_ = Phase::kDone;
    throw;
  }
  if (pieces_.empty()) return std::nullopt;
  Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  return piece;
}

void Answer::advance() {
  switch (phase_) {
    case Phase::kBegin:
      return begin();
    case Phase::kPrompt:
      return read_prompt();
    case Phase::kDrawn:
      return go_on();
    case Phase::kDone:
      return;
  }
}

void Answer::begin() {
  begun_ = Clock::now();
  const SharedSession::Use session(*request_.session);
  unread_ = session->resume(request_.prompt, reader_);
  replayed_ = session->to_replay();
  runs_ = session->runs(static_cast<int64_t>(unread_.size()));
  usage_.reused = static_cast<int64_t>(request_.prompt.size() - unread_.size());
  usage_.processed = static_cast<int64_t>(unread_.size()) + replayed_;
  phase_ = Phase::kPrompt;
}

// One run of the prompt.
void Answer::read_prompt() {
  if (is_cancelled()) return;
  const Run& run = runs_[run_++];
  const TokenIds ids(unread_);
  const SharedSession::Use session(*request_.session);
  float* logits = session->read(
      ids.part(static_cast<size_t>(run.begin), static_cast<size_t>(run.end)), reader_);
  if (run_ == runs_.size()) return draw(logits);
  pieces_.emplace_back(Progress{"prefill", replayed_ + run.end, usage_.processed});
}

// Draws a token from `logits`, which lie in the session's own memory.
void Answer::draw(float* logits) {
  token_ = next_token(logits);
  if (usage_.generated++ == 0) time_to_first_token_ = seconds();
  const std::vector<int32_t>& ends = request_.model->defaults().eos_token_ids;
  if (std::binary_search(ends.begin(), ends.end(), token_)) return finish("eos");
  phase_ = Phase::kDrawn;
  give_out(token_);
}

int32_t Answer::next_token(float* logits) {
  if (request_.budget && !sampler_.is_forced()) {
    sampler_.force(request_.budget->forced(request_.splitter->in_reasoning()));
  }
  return sampler_.sample(logits);
}

// Reads the token that was drawn last, unless the answer ends behind it.
void Answer::go_on() {
  const SharedSession::Use session(*request_.session);
  if (const char* reason = reason_to_end(*session)) return finish(reason);
  if (is_cancelled()) return;
  draw(session->read(TokenIds(&token_, 1), reader_));
}

const char* Answer::reason_to_end(const Session& session) {
  if (request_.splitter && loops_.push(token_)) return "loop";
  const std::optional<int64_t>& most = request_.options.max_tokens;
  if (most && usage_.generated >= *most) return "length";
  return session.position() == session.capacity() ? "context" : nullptr;
}

bool Answer::is_cancelled() {
  if (!stop_->load()) return false;
  finish("cancelled");
  return true;
}

void Answer::give_out(int32_t token) {
  const std::string text = detokenizer_.push(token);
  if (!request_.splitter) return pass_text(text);
  EventSplitter& splitter = *request_.splitter;
  const bool before = splitter.in_reasoning();
  std::vector<Event> events = splitter.push(token, text);
  usage_.reasoning += before || splitter.in_reasoning();
  pass(std::move(events));
}

// Events become pieces, up to a stop string.
void Answer::pass(std::vector<Event> events) {
  for (Event& event : events) {
    if (phase_ == Phase::kDone) return;
    if (const Text* text = std::get_if<Text>(&event)) {
      pass_text(text->text);
    } else {
      flush_stops();
      pieces_.push_back(as_piece(std::move(event)));
    }
  }
}

void Answer::pass_text(const std::string& text) {
  std::string piece = stops_.push(text);
  if (!piece.empty()) pieces_.emplace_back(Text{std::move(piece)});
  if (stops_.stopped()) end("stop");
}

void Answer::flush_stops() {
  std::string held = stops_.finish();
  if (!held.empty()) pieces_.emplace_back(Text{std::move(held)});
}

// Gives out what was held back, in which a stop string may still be complete.
void Answer::finish(const char* reason) {
  const std::string text = detokenizer_.finish();
  phase_ = Phase::kDrawn;
  if (request_.splitter) {
    pass(request_.splitter->push(-1, text));
    if (phase_ != Phase::kDone) pass(request_.splitter->finish());
  } else {
    pass_text(text);
  }
  if (phase_ == Phase::kDone) return;
  flush_stops();
  end(reason);
}

void Answer::end(const char* reason) {
  pieces_.emplace_back(End{reason, usage_, time_to_first_token_, seconds()});
  phase_ = Phase::kDone;
}

double Answer::seconds() const {
  return std::chrono::duration<double>(Clock::now() - begun_).count();
}

}  // namespace lfm::core
