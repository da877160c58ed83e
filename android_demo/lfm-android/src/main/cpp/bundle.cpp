// Bundles that are not loaded.
#include "support.h"

namespace lfm::android {
namespace {

jbyteArray plan(JNIEnv* env, jobject, jbyteArray folder, jlong context) {
  return guarded(env, [&] {
    const Text path(env, folder);
    return text_from(env, [&](char* buffer, std::size_t size, std::size_t* needed) {
      return lfm_bundle_plan(path.get(), context, buffer, size, needed);
    });
  });
}

jlong check(JNIEnv* env, jobject, jbyteArray folder) {
  return guarded(env, [&] {
    const Text path(env, folder);
    return handle_from(env, [&](uint64_t* events) { return lfm_bundle_check(path.get(), events); });
  });
}

}  // namespace

Methods bundle_methods() {
  static const JNINativeMethod table[] = {
      method("bundlePlan", "([BJ)[B", plan),
      method("bundleCheck", "([B)J", check),
  };
  return methods(table);
}

}  // namespace lfm::android
