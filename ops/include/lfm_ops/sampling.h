/* From logits to a token, the same on every device: docs/sampling.md says how, step by step.
 *
 * A sampler draws the tokens of one answer. It belongs to one thread at a time.
 */
#ifndef LFM_OPS_SAMPLING_H_
#define LFM_OPS_SAMPLING_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define LFM_SAMPLING_API __declspec(dllexport)
#else
#define LFM_SAMPLING_API __attribute__((visibility("default")))
#endif

/* The ranges are checked by whoever fills it in: docs/sampling.md names them. */
typedef struct LfmSamplingOptions {
  uint64_t seed;
  double temperature;       /* 0: the most likely token */
  double top_p;             /* 1: off */
  double min_p;             /* 0: off */
  float repetition_penalty; /* 1: off */
  float frequency_penalty;  /* 0: off */
  float presence_penalty;   /* 0: off */
  int32_t top_k;            /* 0: off */
} LfmSamplingOptions;

/* What lfm_sampler_choose answers instead of a token. */
#define LFM_SAMPLING_NOT_FINITE (-1) /* the logits hold NaN, infinity or nothing finite */
#define LFM_SAMPLING_NONE_LEFT (-2)  /* every token is banned or not allowed */
#define LFM_SAMPLING_NO_MEMORY (-3)

typedef struct LfmSampler LfmSampler;

/* Null where there is no memory for it. */
LFM_SAMPLING_API LfmSampler* lfm_sampler_create(const LfmSamplingOptions* options,
                                                int32_t vocab_size);
LFM_SAMPLING_API void lfm_sampler_destroy(LfmSampler* sampler);

/* Adds to the logits of tokens, from now on; minus infinity bans them. Ids outside the vocabulary
 * are passed over here and below. Nonzero where there is no memory. */
LFM_SAMPLING_API int32_t lfm_sampler_bias(LfmSampler* sampler, const int32_t* ids,
                                          const float* biases, int32_t count);

/* Tells which tokens the prompt has. Nonzero where there is no memory. */
LFM_SAMPLING_API int32_t lfm_sampler_observe(LfmSampler* sampler, const int32_t* ids,
                                             int32_t count);

/* The next token for `logits` [vocab_size], or a negative answer. The sampler stays as it is. The
 * logits are changed while it runs and are what they were when it returns. Where `allowed` is not
 * null, only tokens whose bit is set are drawn: bit id % 32 of word id / 32. */
LFM_SAMPLING_API int32_t lfm_sampler_choose(LfmSampler* sampler, float* logits,
                                            const uint32_t* allowed);

/* Makes `token` the next one of the answer, chosen or not. Nonzero where there is no memory. */
LFM_SAMPLING_API int32_t lfm_sampler_accept(LfmSampler* sampler, int32_t token);

/* exp for x <= 0, and draw `index` of a seed in [0, 1): what a port is tested against. */
LFM_SAMPLING_API double lfm_sampling_exp(double x);
LFM_SAMPLING_API double lfm_sampling_uniform(uint64_t seed, uint64_t index);

#ifdef __cplusplus
}
#endif

#endif /* LFM_OPS_SAMPLING_H_ */
