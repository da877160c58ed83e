// Tokens, prompts, and answers that were written before.
#include "support.h"

namespace lfm::android {
namespace {

constexpr std::size_t kPromptRoom = 4096;

jintArray encode(JNIEnv* env, jobject, jlong model, jbyteArray text, jboolean special) {
  return guarded(env, [&] {
    const Text given(env, text);
    const std::size_t room = static_cast<std::size_t>(given.length()) + 8;
    return ids_from(env, room, [&](int32_t* ids, int64_t size, int64_t* count) {
      return lfm_encode(static_cast<LfmModel>(model), given.get(), given.length(), special, ids,
                        size, count);
    });
  });
}

jbyteArray decode(JNIEnv* env, jobject, jlong model, jintArray ids) {
  return guarded(env, [&] {
    const std::vector<int32_t> given = ids_of(env, ids);
    return text_from(env, [&](char* buffer, std::size_t size, std::size_t* needed) {
      return lfm_decode(static_cast<LfmModel>(model), given.data(),
                        static_cast<int64_t>(given.size()), buffer, size, needed);
    });
  });
}

jintArray prompt(JNIEnv* env, jobject, jlong model, jbyteArray request) {
  return guarded(env, [&] {
    const Text asked(env, request);
    return ids_from(env, kPromptRoom, [&](int32_t* ids, int64_t size, int64_t* count) {
      return lfm_prompt(static_cast<LfmModel>(model), asked.get(), ids, size, count);
    });
  });
}

jbyteArray parse_tool_calls(JNIEnv* env, jobject, jbyteArray text, jbyteArray tools) {
  return guarded(env, [&] {
    const Text answer(env, text), known(env, tools);
    return text_from(env, [&](char* buffer, std::size_t size, std::size_t* needed) {
      return lfm_parse_tool_calls(answer.get(), answer.length(), known.get(), buffer, size, needed);
    });
  });
}

jbyteArray split_events(JNIEnv* env, jobject, jbyteArray answer) {
  return guarded(env, [&] {
    const Text given(env, answer);
    return text_from(env, [&](char* buffer, std::size_t size, std::size_t* needed) {
      return lfm_split_events(given.get(), buffer, size, needed);
    });
  });
}

}  // namespace

Methods token_methods() {
  static const JNINativeMethod table[] = {
      method("encode", "(J[BZ)[I", encode),
      method("decode", "(J[I)[B", decode),
      method("prompt", "(J[B)[I", prompt),
      method("parseToolCalls", "([B[B)[B", parse_tool_calls),
      method("splitEvents", "([B)[B", split_events),
  };
  return methods(table);
}

}  // namespace lfm::android
