// Tells the virtual machine where the functions of ai.lfm.edge.Native are: a name or a signature
// that does not fit is an error when the library is loaded, and not a crash when it is called.
#include "support.h"

extern "C" JNIEXPORT jint JNI_OnLoad(JavaVM* machine, void*) {
  using namespace lfm::android;
  JNIEnv* env = nullptr;
  if (machine->GetEnv(reinterpret_cast<void**>(&env), JNI_VERSION_1_6) != JNI_OK) return JNI_ERR;
  jclass native = env->FindClass("ai/lfm/edge/Native");
  if (native == nullptr || !prepare(env, native)) return JNI_ERR;
  const Methods groups[] = {library_methods(),      bundle_methods(),  model_methods(),
                            token_methods(),        session_methods(), answer_methods(),
                            conversation_methods(), sampler_methods()};
  for (const Methods& group : groups) {
    if (env->RegisterNatives(native, group.first, group.count) != JNI_OK) return JNI_ERR;
  }
  return JNI_VERSION_1_6;
}
