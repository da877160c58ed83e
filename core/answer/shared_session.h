// A session as several may hold it: one thread at a time uses it.
#pragma once

#include <memory>
#include <mutex>

#include "answer/fields.h"
#include "engine/session.h"

namespace lfm::core {

class SharedSession {
 public:
  explicit SharedSession(std::unique_ptr<Session> session) : session_(std::move(session)) {}

  // The session, for as long as this lives. LFM_INVALID_REQUEST: another thread uses it.
  class Use {
   public:
    explicit Use(SharedSession& shared) : lock_(shared.busy_, std::try_to_lock) {
      if (!lock_) throw invalid_request("the session is in use by another thread");
      session_ = shared.session_.get();
    }
    Session* operator->() const { return session_; }
    Session& operator*() const { return *session_; }

   private:
    std::unique_lock<std::mutex> lock_;
    Session* session_;
  };

  // Which never changes.
  int64_t capacity() const { return session_->capacity(); }

 private:
  std::mutex busy_;
  std::unique_ptr<Session> session_;
};

}  // namespace lfm::core
