// Sessions.
#include "support.h"

namespace lfm::android {
namespace {

LfmSession session_of(jlong handle) { return static_cast<LfmSession>(handle); }

jlong open(JNIEnv* env, jobject, jlong model, jlong context) {
  return handle_from(env, [&](uint64_t* session) {
    return lfm_session_open(static_cast<LfmModel>(model), context, session);
  });
}

jbyteArray info(JNIEnv* env, jobject, jlong session) {
  return text_from(env, [&](char* buffer, std::size_t size, std::size_t* needed) {
    return lfm_session_info(session_of(session), buffer, size, needed);
  });
}

jintArray held_ids(JNIEnv* env, jobject, jlong session) {
  return guarded(env, [&] {
    return ids_from(env, 4096, [&](int32_t* ids, int64_t size, int64_t* count) {
      return lfm_session_ids(session_of(session), ids, size, count);
    });
  });
}

void prefill(JNIEnv* env, jobject, jlong session, jintArray ids, jobject logits) {
  guarded(env, [&] {
    const std::vector<int32_t> given = ids_of(env, ids);
    auto* values = static_cast<float*>(env->GetDirectBufferAddress(logits));
    failed(env, lfm_session_prefill(session_of(session), given.data(),
                                    static_cast<int64_t>(given.size()), values));
  });
}

void rewind(JNIEnv* env, jobject, jlong session, jlong position) {
  failed(env, lfm_session_rewind(session_of(session), position));
}

jlong resume(JNIEnv* env, jobject, jlong session, jintArray ids) {
  return guarded(env, [&]() -> jlong {
    const std::vector<int32_t> given = ids_of(env, ids);
    int64_t kept = 0;
    failed(env, lfm_session_resume(session_of(session), given.data(),
                                   static_cast<int64_t>(given.size()), &kept));
    return kept;
  });
}

jlong fork(JNIEnv* env, jobject, jlong session) {
  return handle_from(env,
                     [&](uint64_t* other) { return lfm_session_fork(session_of(session), other); });
}

void save(JNIEnv* env, jobject, jlong session, jbyteArray path) {
  guarded(env, [&] { failed(env, lfm_session_save(session_of(session), Text(env, path).get())); });
}

jlong load(JNIEnv* env, jobject, jlong model, jbyteArray path, jlong context) {
  return guarded(env, [&] {
    const Text file(env, path);
    return handle_from(env, [&](uint64_t* session) {
      return lfm_session_load(static_cast<LfmModel>(model), file.get(), context, session);
    });
  });
}

}  // namespace

Methods session_methods() {
  static const JNINativeMethod table[] = {
      method("sessionOpen", "(JJ)J", open),
      method("sessionInfo", "(J)[B", info),
      method("sessionIds", "(J)[I", held_ids),
      method("sessionPrefill", "(J[ILjava/nio/ByteBuffer;)V", prefill),
      method("sessionRewind", "(JJ)V", rewind),
      method("sessionResume", "(J[I)J", resume),
      method("sessionFork", "(J)J", fork),
      method("sessionSave", "(J[B)V", save),
      method("sessionLoad", "(J[BJ)J", load),
  };
  return methods(table);
}

}  // namespace lfm::android
