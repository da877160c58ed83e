// Sessions of tokens.
#include "c_api/calls.h"

using namespace lfm::core;

namespace {

LfmStatus give_session(std::shared_ptr<Model> model, std::unique_ptr<Session> session,
                       LfmSession* handle) {
  auto shared = std::make_shared<SharedSession>(std::move(session));
  return give_handle(
      HandleKind::kSession,
      std::make_shared<SessionHandle>(SessionHandle{std::move(model), std::move(shared)}), handle);
}

}  // namespace

LfmStatus lfm_session_open(LfmModel model, int64_t context, LfmSession* session) {
  return guarded([&] {
    require_place(session, "session");
    const std::shared_ptr<Model> opened = model_of(model);
    auto made =
        std::make_unique<Session>(opened->runtime(), capacity_for(opened->bundle(), context));
    return give_session(opened, std::move(made), session);
  });
}

LfmStatus lfm_session_info(LfmSession handle, char* buffer, size_t size, size_t* needed) {
  return guarded([&] {
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    const SharedSession::Use session(*opened->session);
    const Json info = Json::Object{{"capacity", session->capacity()},
                                   {"position", session->position()},
                                   {"to_replay", session->to_replay()}};
    return give_json(info, buffer, size, needed);
  });
}

LfmStatus lfm_session_ids(LfmSession handle, int32_t* ids, int64_t size, int64_t* count) {
  return guarded([&] {
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    const SharedSession::Use session(*opened->session);
    return give_ids(session->ids(), ids, size, count);
  });
}

LfmStatus lfm_session_prefill(LfmSession handle, const int32_t* ids, int64_t count, float* logits) {
  return guarded([&] {
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    const std::vector<int32_t> given = given_ids(ids, count);
    const SharedSession::Use session(*opened->session);
    const float* found = session->prefill(given);
    const auto vocab_size = static_cast<size_t>(opened->model->vocab_size());
    if (logits != nullptr) std::memcpy(logits, found, vocab_size * sizeof(float));
    return LFM_OK;
  });
}

LfmStatus lfm_session_rewind(LfmSession handle, int64_t position) {
  return guarded([&] {
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    SharedSession::Use(*opened->session)->rewind(position);
    return LFM_OK;
  });
}

LfmStatus lfm_session_resume(LfmSession handle, const int32_t* ids, int64_t count, int64_t* kept) {
  return guarded([&] {
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    const std::vector<int32_t> given = given_ids(ids, count);
    const SharedSession::Use session(*opened->session);
    const size_t unread = session->resume(given).size();
    if (kept != nullptr) *kept = static_cast<int64_t>(given.size() - unread);
    return LFM_OK;
  });
}

LfmStatus lfm_session_fork(LfmSession handle, LfmSession* fork) {
  return guarded([&] {
    require_place(fork, "fork");
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    std::unique_ptr<Session> made = SharedSession::Use(*opened->session)->fork();
    return give_session(opened->model, std::move(made), fork);
  });
}

LfmStatus lfm_session_save(LfmSession handle, const char* path) {
  return guarded([&] {
    const std::shared_ptr<SessionHandle> opened = session_of(handle);
    SharedSession::Use(*opened->session)->save(require_path(path, "path"));
    return LFM_OK;
  });
}

LfmStatus lfm_session_load(LfmModel model, const char* path, int64_t context, LfmSession* session) {
  return guarded([&] {
    require_place(session, "session");
    const std::shared_ptr<Model> opened = model_of(model);
    OpenedSession read = Session::open(opened->runtime(), require_path(path, "path"), context);
    return give_session(opened, std::move(read.session), session);
  });
}
