// Answers, and the events of whatever gives some.
#include "support.h"

namespace lfm::android {
namespace {

constexpr jint kEnd = -1;  // Native.END

jlong generate(JNIEnv* env, jobject, jlong session, jbyteArray request) {
  return guarded(env, [&] {
    const Text asked(env, request);
    return handle_from(env, [&](uint64_t* events) {
      return lfm_generate(static_cast<LfmSession>(session), asked.get(), events);
    });
  });
}

jint next(JNIEnv* env, jobject, jlong events, jobject buffer) {
  auto* room = static_cast<char*>(env->GetDirectBufferAddress(buffer));
  const auto size = static_cast<std::size_t>(env->GetDirectBufferCapacity(buffer));
  std::size_t needed = 0;
  const LfmStatus status = lfm_next(static_cast<LfmEvents>(events), room, size, &needed);
  if (status == LFM_END) return kEnd;
  if (status == LFM_BUFFER) return -static_cast<jint>(needed);
  return failed(env, status) ? kEnd : static_cast<jint>(needed) - 1;
}

void stop(JNIEnv*, jobject, jlong events) { lfm_stop(static_cast<LfmEvents>(events)); }

}  // namespace

Methods answer_methods() {
  static const JNINativeMethod table[] = {
      method("generate", "(J[B)J", generate),
      method("next", "(JLjava/nio/ByteBuffer;)I", next),
      method("stop", "(J)V", stop),
  };
  return methods(table);
}

}  // namespace lfm::android
