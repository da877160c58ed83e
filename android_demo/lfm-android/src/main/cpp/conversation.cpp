// Conversations.
#include "support.h"

namespace lfm::android {
namespace {

LfmConversation conversation_of(jlong handle) { return static_cast<LfmConversation>(handle); }

jlong open(JNIEnv* env, jobject, jlong model, jbyteArray setting) {
  return guarded(env, [&] {
    const Text how(env, setting);
    return handle_from(env, [&](uint64_t* conversation) {
      return lfm_conversation_open(static_cast<LfmModel>(model), how.get(), conversation);
    });
  });
}

jlong send(JNIEnv* env, jobject, jlong conversation, jbyteArray message, jbyteArray options) {
  return guarded(env, [&] {
    const Text said(env, message), how(env, options);
    return handle_from(env, [&](uint64_t* events) {
      return lfm_conversation_send(conversation_of(conversation), said.get(), how.get(), events);
    });
  });
}

jlong regenerate(JNIEnv* env, jobject, jlong conversation, jbyteArray options) {
  return guarded(env, [&] {
    const Text how(env, options);
    return handle_from(env, [&](uint64_t* events) {
      return lfm_conversation_regenerate(conversation_of(conversation), how.get(), events);
    });
  });
}

jlong edit(JNIEnv* env, jobject, jlong conversation, jlong turn, jbyteArray text,
           jbyteArray options) {
  return guarded(env, [&] {
    const Text said(env, text), how(env, options);
    return handle_from(env, [&](uint64_t* events) {
      return lfm_conversation_edit(conversation_of(conversation), turn, said.get(), how.get(),
                                   events);
    });
  });
}

void check(JNIEnv* env, jobject, jlong conversation, jbyteArray options) {
  guarded(env, [&] {
    const Text how(env, options);
    failed(env, lfm_conversation_check(conversation_of(conversation), how.get()));
  });
}

jlong warm(JNIEnv* env, jobject, jlong conversation) {
  int64_t read = 0;
  failed(env, lfm_conversation_warm(conversation_of(conversation), &read));
  return read;
}

jlong fork(JNIEnv* env, jobject, jlong conversation) {
  return handle_from(env, [&](uint64_t* other) {
    return lfm_conversation_fork(conversation_of(conversation), other);
  });
}

jbyteArray messages(JNIEnv* env, jobject, jlong conversation) {
  return text_from(env, [&](char* buffer, std::size_t size, std::size_t* needed) {
    return lfm_conversation_messages(conversation_of(conversation), buffer, size, needed);
  });
}

void set_messages(JNIEnv* env, jobject, jlong conversation, jbyteArray messages) {
  guarded(env, [&] {
    const Text given(env, messages);
    failed(env, lfm_conversation_set_messages(conversation_of(conversation), given.get()));
  });
}

jlong session(JNIEnv* env, jobject, jlong conversation) {
  return handle_from(env, [&](uint64_t* session) {
    return lfm_conversation_session(conversation_of(conversation), session);
  });
}

void save(JNIEnv* env, jobject, jlong conversation, jbyteArray path) {
  guarded(env, [&] {
    failed(env, lfm_conversation_save(conversation_of(conversation), Text(env, path).get()));
  });
}

jlong load(JNIEnv* env, jobject, jlong model, jbyteArray path, jlong context) {
  return guarded(env, [&] {
    const Text file(env, path);
    return handle_from(env, [&](uint64_t* conversation) {
      return lfm_conversation_load(static_cast<LfmModel>(model), file.get(), context, conversation);
    });
  });
}

}  // namespace

Methods conversation_methods() {
  static const JNINativeMethod table[] = {
      method("conversationOpen", "(J[B)J", open),
      method("conversationSend", "(J[B[B)J", send),
      method("conversationRegenerate", "(J[B)J", regenerate),
      method("conversationEdit", "(JJ[B[B)J", edit),
      method("conversationCheck", "(J[B)V", check),
      method("conversationWarm", "(J)J", warm),
      method("conversationFork", "(J)J", fork),
      method("conversationMessages", "(J)[B", messages),
      method("conversationSetMessages", "(J[B)V", set_messages),
      method("conversationSession", "(J)J", session),
      method("conversationSave", "(J[B)V", save),
      method("conversationLoad", "(J[BJ)J", load),
  };
  return methods(table);
}

}  // namespace lfm::android
