#include "support.h"

#include <cstring>

namespace lfm::android {
namespace {

jclass native_class;
jmethodID error_of;

}  // namespace

bool prepare(JNIEnv* env, jclass native) {
  native_class = static_cast<jclass>(env->NewGlobalRef(native));
  if (native_class == nullptr) return false;
  error_of = env->GetStaticMethodID(native_class, "errorOf", "(I[B)Ljava/lang/RuntimeException;");
  return error_of != nullptr;
}

void raise(JNIEnv* env, int status, const char* message) {
  if (env->ExceptionCheck()) return;  // the first one tells more
  jbyteArray text = new_bytes(env, message, std::strlen(message));
  if (text == nullptr) return;
  jobject error = env->CallStaticObjectMethod(native_class, error_of, jint{status}, text);
  if (!env->ExceptionCheck()) env->Throw(static_cast<jthrowable>(error));
}

bool failed(JNIEnv* env, LfmStatus status) {
  if (status == LFM_OK) return false;
  raise(env, status, lfm_last_error());
  return true;
}

Text::Text(JNIEnv* env, jbyteArray bytes) : null_(bytes == nullptr) {
  if (null_) return;
  const jsize length = env->GetArrayLength(bytes);
  text_.resize(static_cast<std::size_t>(length));
  env->GetByteArrayRegion(bytes, 0, length, reinterpret_cast<jbyte*>(&text_[0]));
}

std::vector<int32_t> ids_of(JNIEnv* env, jintArray ids) {
  const jsize count = env->GetArrayLength(ids);
  std::vector<int32_t> values(static_cast<std::size_t>(count));
  env->GetIntArrayRegion(ids, 0, count, values.data());
  return values;
}

jintArray new_ids(JNIEnv* env, const std::vector<int32_t>& ids) {
  const jsize count = static_cast<jsize>(ids.size());
  jintArray array = env->NewIntArray(count);
  if (array != nullptr) env->SetIntArrayRegion(array, 0, count, ids.data());
  return array;
}

jbyteArray new_bytes(JNIEnv* env, const char* text, std::size_t length) {
  const jsize count = static_cast<jsize>(length);
  jbyteArray array = env->NewByteArray(count);
  if (array != nullptr) {
    env->SetByteArrayRegion(array, 0, count, reinterpret_cast<const jbyte*>(text));
  }
  return array;
}

}  // namespace lfm::android
