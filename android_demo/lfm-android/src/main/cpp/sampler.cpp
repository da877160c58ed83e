// Samplers: ops/include/lfm_ops/sampling.h.
#include <atomic>
#include <memory>

#include "lfm_ops/sampling.h"
#include "support.h"

namespace lfm::android {
namespace {

constexpr const char* kNoMemory = "there is no memory to draw a token";

std::atomic<int64_t> open_count{0};

struct Sampler {
  LfmSampler* native;
  std::vector<float> logits;
  std::vector<uint32_t> allowed;

  ~Sampler() { lfm_sampler_destroy(native); }
};

Sampler* sampler_of(jlong handle) { return reinterpret_cast<Sampler*>(handle); }

jlong create(JNIEnv* env, jobject, jlong seed, jdouble temperature, jdouble top_p, jdouble min_p,
             jfloat repetition_penalty, jfloat frequency_penalty, jfloat presence_penalty,
             jint top_k, jint vocab_size) {
  return guarded(env, [&]() -> jlong {
    LfmSamplingOptions options{};
    options.seed = static_cast<uint64_t>(seed);
    options.temperature = temperature;
    options.top_p = top_p;
    options.min_p = min_p;
    options.repetition_penalty = repetition_penalty;
    options.frequency_penalty = frequency_penalty;
    options.presence_penalty = presence_penalty;
    options.top_k = top_k;
    auto sampler = std::make_unique<Sampler>();
    sampler->logits.resize(static_cast<std::size_t>(vocab_size));
    sampler->native = lfm_sampler_create(&options, vocab_size);
    if (sampler->native == nullptr) {
      raise(env, LFM_NO_MEMORY, kNoMemory);
      return 0;
    }
    ++open_count;
    return reinterpret_cast<jlong>(sampler.release());
  });
}

void destroy(JNIEnv*, jobject, jlong sampler) {
  if (sampler == 0) return;
  delete sampler_of(sampler);
  --open_count;
}

void bias(JNIEnv* env, jobject, jlong sampler, jintArray ids, jfloatArray biases) {
  guarded(env, [&] {
    const std::vector<int32_t> tokens = ids_of(env, ids);
    std::vector<float> values(tokens.size());
    env->GetFloatArrayRegion(biases, 0, static_cast<jsize>(values.size()), values.data());
    if (lfm_sampler_bias(sampler_of(sampler)->native, tokens.data(), values.data(),
                         static_cast<int32_t>(tokens.size())) != 0) {
      raise(env, LFM_NO_MEMORY, kNoMemory);
    }
  });
}

void observe(JNIEnv* env, jobject, jlong sampler, jintArray ids) {
  guarded(env, [&] {
    const std::vector<int32_t> tokens = ids_of(env, ids);
    if (lfm_sampler_observe(sampler_of(sampler)->native, tokens.data(),
                            static_cast<int32_t>(tokens.size())) != 0) {
      raise(env, LFM_NO_MEMORY, kNoMemory);
    }
  });
}

// The message of what is no token.
void refuse(JNIEnv* env, int32_t answer) {
  if (answer == LFM_SAMPLING_NOT_FINITE) {
    raise(env, LFM_BUNDLE, "the graph gave logits that are not finite numbers; verify the bundle");
  } else if (answer == LFM_SAMPLING_NONE_LEFT) {
    raise(env, LFM_INVALID_REQUEST,
          "no token is left to draw: ban fewer of those that the answer needs");
  } else {
    raise(env, LFM_NO_MEMORY, kNoMemory);
  }
}

jint choose(JNIEnv* env, jobject, jlong handle, jfloatArray logits, jintArray allowed) {
  return guarded(env, [&]() -> jint {
    Sampler& sampler = *sampler_of(handle);
    env->GetFloatArrayRegion(logits, 0, static_cast<jsize>(sampler.logits.size()),
                             sampler.logits.data());
    const uint32_t* mask = nullptr;
    if (allowed != nullptr) {
      const jsize words = env->GetArrayLength(allowed);
      sampler.allowed.resize(static_cast<std::size_t>(words));
      env->GetIntArrayRegion(allowed, 0, words, reinterpret_cast<jint*>(sampler.allowed.data()));
      mask = sampler.allowed.data();
    }
    const int32_t token = lfm_sampler_choose(sampler.native, sampler.logits.data(), mask);
    if (token < 0) refuse(env, token);
    return token;
  });
}

void accept(JNIEnv* env, jobject, jlong sampler, jint token) {
  if (lfm_sampler_accept(sampler_of(sampler)->native, token) != 0) {
    raise(env, LFM_NO_MEMORY, kNoMemory);
  }
}

jdouble exp_of(JNIEnv*, jobject, jdouble x) { return lfm_sampling_exp(x); }

jdouble uniform(JNIEnv*, jobject, jlong seed, jlong index) {
  return lfm_sampling_uniform(static_cast<uint64_t>(seed), static_cast<uint64_t>(index));
}

}  // namespace

int64_t open_samplers() { return open_count; }

Methods sampler_methods() {
  static const JNINativeMethod table[] = {
      method("samplerCreate", "(JDDDFFFII)J", create), method("samplerDestroy", "(J)V", destroy),
      method("samplerBias", "(J[I[F)V", bias),         method("samplerObserve", "(J[I)V", observe),
      method("samplerChoose", "(J[F[I)I", choose),     method("samplerAccept", "(JI)V", accept),
      method("samplingExp", "(D)D", exp_of),           method("samplingUniform", "(JJ)D", uniform),
  };
  return methods(table);
}

}  // namespace lfm::android
