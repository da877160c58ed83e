// Models.
#include "support.h"

namespace lfm::android {
namespace {

jlong open(JNIEnv* env, jobject, jbyteArray folder, jbyteArray options) {
  return guarded(env, [&] {
    const Text path(env, folder), how(env, options);
    return handle_from(
        env, [&](uint64_t* model) { return lfm_model_open(path.get(), how.get(), model); });
  });
}

jbyteArray info(JNIEnv* env, jobject, jlong model) {
  return text_from(env, [&](char* buffer, std::size_t size, std::size_t* needed) {
    return lfm_model_info(static_cast<LfmModel>(model), buffer, size, needed);
  });
}

jlong verify(JNIEnv* env, jobject, jlong model) {
  return handle_from(env, [&](uint64_t* events) {
    return lfm_model_verify(static_cast<LfmModel>(model), events);
  });
}

}  // namespace

Methods model_methods() {
  static const JNINativeMethod table[] = {
      method("modelOpen", "([B[B)J", open),
      method("modelInfo", "(J)[B", info),
      method("modelVerify", "(J)J", verify),
  };
  return methods(table);
}

}  // namespace lfm::android
