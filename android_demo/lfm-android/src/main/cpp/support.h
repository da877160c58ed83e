// What every function that Kotlin calls needs: texts, ids, errors.
#ifndef LFM_ANDROID_SUPPORT_H_
#define LFM_ANDROID_SUPPORT_H_

#include <jni.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lfm_core.h"

namespace lfm::android {

// The functions of one file, as RegisterNatives takes them.
struct Methods {
  const JNINativeMethod* first;
  jint count;
};

template <std::size_t N>
Methods methods(const JNINativeMethod (&table)[N]) {
  return {table, static_cast<jint>(N)};
}

template <typename Function>
JNINativeMethod method(const char* name, const char* signature, Function* function) {
  return {const_cast<char*>(name), const_cast<char*>(signature), reinterpret_cast<void*>(function)};
}

// Looks up what errors are made by; false with an exception pending.
bool prepare(JNIEnv* env, jclass native);

// Throws the Kotlin exception of a status.
void raise(JNIEnv* env, int status, const char* message);

// Throws for whatever is not LFM_OK, with the core's message; whether it has.
bool failed(JNIEnv* env, LfmStatus status);

// Runs what may find no memory, which becomes an exception of Kotlin's.
template <typename Body>
auto guarded(JNIEnv* env, Body body) noexcept -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    raise(env, LFM_NO_MEMORY, "there is no memory for what the app and the model exchange");
    return decltype(body())();
  }
}

// A byte[] as the core takes texts; null stays null.
class Text {
 public:
  Text(JNIEnv* env, jbyteArray bytes);
  const char* get() const { return null_ ? nullptr : text_.c_str(); }
  int64_t length() const { return static_cast<int64_t>(text_.size()); }

 private:
  std::string text_;
  bool null_;
};

std::vector<int32_t> ids_of(JNIEnv* env, jintArray ids);
jintArray new_ids(JNIEnv* env, const std::vector<int32_t>& ids);
jbyteArray new_bytes(JNIEnv* env, const char* text, std::size_t length);

// The text that `call(buffer, size, &needed)` writes, or null with an exception pending.
template <typename Call>
jbyteArray text_from(JNIEnv* env, Call call) {
  return guarded(env, [&]() -> jbyteArray {
    char few[2048];
    std::size_t needed = 0;
    LfmStatus status = call(few, sizeof few, &needed);
    if (status == LFM_OK) return new_bytes(env, few, needed - 1);
    std::vector<char> many;
    while (status == LFM_BUFFER) {  // again where it has grown meanwhile
      many.resize(needed);
      status = call(many.data(), many.size(), &needed);
    }
    return failed(env, status) ? nullptr : new_bytes(env, many.data(), needed - 1);
  });
}

// The ids that `call(ids, size, &count)` writes, or null; `room`: how many there may well be.
template <typename Call>
jintArray ids_from(JNIEnv* env, std::size_t room, Call call) {
  std::vector<int32_t> ids(room);
  int64_t count = 0;
  LfmStatus status = call(ids.data(), static_cast<int64_t>(ids.size()), &count);
  while (status == LFM_BUFFER) {
    ids.resize(static_cast<std::size_t>(count));
    status = call(ids.data(), static_cast<int64_t>(ids.size()), &count);
  }
  if (failed(env, status)) return nullptr;
  ids.resize(static_cast<std::size_t>(count));
  return new_ids(env, ids);
}

// The handle that `call(&handle)` gives, or 0 with an exception pending.
template <typename Call>
jlong handle_from(JNIEnv* env, Call call) {
  uint64_t handle = 0;
  return failed(env, call(&handle)) ? 0 : static_cast<jlong>(handle);
}

Methods library_methods();
Methods bundle_methods();
Methods model_methods();
Methods token_methods();
Methods session_methods();
Methods answer_methods();
Methods conversation_methods();
Methods sampler_methods();

// How many samplers are open; they are none of the core's handles.
int64_t open_samplers();

}  // namespace lfm::android

#endif  // LFM_ANDROID_SUPPORT_H_
