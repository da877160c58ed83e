// Events that are pulled: those of an answer, of a turn, of a check of a bundle's files or of a
// model's numbers.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "answer/answer.h"
#include "answer/conversation.h"
#include "engine/golden.h"

namespace lfm::core {

class EventStream {
 public:
  virtual ~EventStream() = default;

  // The event to come, as JSON, or none behind the last; it stays until `pop`. An error ends them.
  // LFM_INVALID_REQUEST: another thread is asking.
  const std::string* peek();
  void pop() { pending_.reset(); }

  // One thread at a time pulls.
  std::mutex& busy() { return busy_; }

  // Both from any thread.
  void stop() { stop_->store(true); }
  void abandon() {
    abandoned_.store(true);
    stop();
  }

 protected:
  virtual std::optional<Json> next() = 0;

  const Stop stop_ = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> abandoned_{false};  // nobody reads on

 private:
  std::mutex busy_;
  std::optional<std::string> pending_;
  bool ended_ = false;
};

std::shared_ptr<EventStream> answer_events(Request request);
std::shared_ptr<EventStream> check_events(const std::string& folder);
std::shared_ptr<EventStream> golden_events(const std::shared_ptr<const Runtime>& runtime);

// A turn that `begin` makes, of the flag that stops it.
class TurnEvents : public EventStream {
 public:
  template <typename Begin>
  explicit TurnEvents(const Begin& begin) : EventStream(), turn_(begin(stop_)) {}

 private:
  std::optional<Json> next() override;

  std::unique_ptr<Turn> turn_;
};

}  // namespace lfm::core
