// The library, and closing.
#include <cstring>

#include "support.h"

namespace lfm::android {
namespace {

jbyteArray version(JNIEnv* env, jobject) {
  const char* text = lfm_core_version();
  return new_bytes(env, text, std::strlen(text));
}

jlong open_handles(JNIEnv*, jobject) { return lfm_open_handles() + open_samplers(); }

void use_onnxruntime(JNIEnv* env, jobject, jbyteArray path) {
  guarded(env, [&] { failed(env, lfm_use_onnxruntime(Text(env, path).get())); });
}

void close(JNIEnv* env, jobject, jlong handle) {
  failed(env, lfm_close(static_cast<LfmHandle>(handle)));
}

}  // namespace

Methods library_methods() {
  static const JNINativeMethod table[] = {
      method("version", "()[B", version),
      method("openHandles", "()J", open_handles),
      method("useOnnxRuntime", "([B)V", use_onnxruntime),
      method("close", "(J)V", close),
  };
  return methods(table);
}

}  // namespace lfm::android
