#include "engine/session.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/error.h"
#include "engine/session_file.h"

namespace lfm::core {

Reader new_reader() {
  static std::atomic<Reader> last{0};
  return ++last;
}

Session::Session(std::shared_ptr<const Runtime> runtime, int64_t capacity)
    : runtime_(std::move(runtime)), capacity_(capacity), contents_(runtime_, capacity) {}

float* Session::prefill(TokenIds ids) {
  require_ids(ids, runtime_->vocab_size());
  reader_ = 0;
  return append(ids);
}

void Session::reset() {
  reader_ = 0;
  contents_.clear();
}

void Session::rewind(int64_t position) {
  if (position < 0 || position > this->position()) {
    throw Error(LFM_INVALID_REQUEST, "rewind: got position " + std::to_string(position) +
                                         ", but the session holds " + grouped(this->position()) +
                                         " tokens");
  }
  reader_ = 0;
  contents_.rewind(position);
}

std::vector<int32_t> Session::resume(TokenIds ids, Reader reader) {
  require_ids(ids, runtime_->vocab_size());
  const int64_t kept = reachable(ids);
  std::vector<int32_t> unread(ids.begin() + kept, ids.end());
  contents_.rewind(kept);
  reader_ = reader;
  return unread;
}

int64_t Session::reachable(TokenIds ids) const {
  if (ids.empty()) return 0;
  return contents_.reachable(
      static_cast<int64_t>(std::min(common(this->ids(), ids), ids.size() - 1)));
}

std::vector<Run> Session::runs(int64_t count) const { return runs_of(count, to_replay()); }

float* Session::read(TokenIds ids, Reader reader) {
  require_ids(ids, runtime_->vocab_size());
  if (reader_ != reader) {
    throw Error(LFM_SESSION_TAKEN,
                "the session went on without this answer: another answer, prefill, decode, rewind "
                "or reset has used it since; give each answer a session of its own, or finish one "
                "before the next");
  }
  return append(ids);
}

float* Session::append(TokenIds ids) {
  const auto count = static_cast<int64_t>(ids.size());
  if (count > capacity_ - position()) {
    throw Error(LFM_CONTEXT_FULL, "the context is full: " + grouped(count) +
                                      " more tokens at position " + grouped(position()) +
                                      " do not fit its capacity of " + grouped(capacity_) +
                                      "; take a larger context");
  }
  try {
    return contents_.append(ids);
  } catch (...) {
    reset();
    throw;
  }
}

std::unique_ptr<Session> Session::fork() const {
  auto other = std::make_unique<Session>(runtime_, capacity_);
  other->contents_.copy_from(contents_);
  return other;
}

Snapshot Session::snapshot() const {
  Snapshot snapshot;
  snapshot.ids_ = ids();
  snapshot.conv_ = contents_.conv();
  snapshot.runtime_ = runtime_;
  return snapshot;
}

void Session::restore(const Snapshot& snapshot) {
  if (snapshot.runtime_ != runtime_) {
    throw Error(LFM_INVALID_REQUEST, "restore: it is a snapshot of another model's session");
  }
  const auto held = static_cast<int64_t>(common(ids(), snapshot.ids_));
  if (held < snapshot.position()) {
    throw Error(LFM_INVALID_REQUEST, "restore: the session holds " + grouped(held) + " of its " +
                                         grouped(snapshot.position()) +
                                         " tokens; resume with its ids");
  }
  reader_ = 0;
  contents_.rewind(snapshot.position());
  if (snapshot.conv_.position >= 0) contents_.set_conv(snapshot.conv_);
}

void Session::save(const std::string& path, std::string_view attached) const {
  write_session(path, contents_, attached);
}

OpenedSession Session::open(std::shared_ptr<const Runtime> runtime, const std::string& path,
                            int64_t context) {
  const SavedSession saved(path, *runtime);
  const int64_t capacity =
      capacity_for(runtime->bundle(), context == 0 ? saved.capacity() : context);
  auto session = std::make_unique<Session>(std::move(runtime), capacity);
  if (saved.position() > capacity) {
    throw Error(LFM_CONTEXT_FULL, path + ": holds " + grouped(saved.position()) +
                                      " tokens, but the context " + grouped(capacity) +
                                      "; take a larger context");
  }
  saved.read_into(session->contents_);
  return {std::move(session), saved.attached()};
}

}  // namespace lfm::core
