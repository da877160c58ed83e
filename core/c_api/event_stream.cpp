#include "c_api/event_stream.h"

namespace lfm::core {
namespace {

class AnswerEvents : public EventStream {
 public:
  explicit AnswerEvents(Request request) : answer_(std::move(request), stop_) {}

 private:
  std::optional<Json> next() override {
    const std::optional<Piece> piece = answer_.next();
    return piece ? std::optional(as_json(*piece)) : std::nullopt;
  }

  Answer answer_;
};

class CheckEvents : public EventStream {
 public:
  explicit CheckEvents(const std::string& folder) : check_(std::make_shared<Bundle>(folder)) {}

 private:
  std::optional<Json> next() override {
    if (stop_->load()) return std::nullopt;
    std::optional<Progress> progress = check_.next();
    return progress ? std::optional(as_json(Piece(std::move(*progress)))) : std::nullopt;
  }

  HashCheck check_;
};

class GoldenEvents : public EventStream {
 public:
  explicit GoldenEvents(const std::shared_ptr<const Runtime>& runtime) : check_(runtime) {}

 private:
  std::optional<Json> next() override {
    if (stop_->load() || passed_) return std::nullopt;
    if (std::optional<Progress> progress = check_.next()) {
      return as_json(Piece(std::move(*progress)));
    }
    passed_ = true;
    return Json::Object{{"type", "golden"},
                        {"passed", true},
                        {"worst", check_.worst()},
                        {"tolerance", check_.tolerance()}};
  }

  GoldenCheck check_;
  bool passed_ = false;
};

}  // namespace

const std::string* EventStream::peek() {
  if (!pending_ && !ended_) {
    ended_ = true;  // unless an event comes
    if (const std::optional<Json> event = next()) {
      pending_ = event->dump();
      ended_ = false;
    }
  }
  return pending_ ? &*pending_ : nullptr;
}

std::shared_ptr<EventStream> answer_events(Request request) {
  return std::make_shared<AnswerEvents>(std::move(request));
}

std::shared_ptr<EventStream> check_events(const std::string& folder) {
  return std::make_shared<CheckEvents>(folder);
}

std::shared_ptr<EventStream> golden_events(const std::shared_ptr<const Runtime>& runtime) {
  return std::make_shared<GoldenEvents>(runtime);
}

std::optional<Json> TurnEvents::next() {
  const std::optional<Piece> piece = turn_->next(abandoned_);
  return piece ? std::optional(as_json(*piece)) : std::nullopt;
}

}  // namespace lfm::core
