/* How the ops are made known to ONNX Runtime.
 *
 * Loaded: SessionOptions.register_custom_ops_library(path) finds RegisterCustomOps by its name.
 * Linked in (where an app may load no libraries of its own): call it, or hand its name to
 * RegisterCustomOpsUsingFunction.
 */
#ifndef LFM_OPS_REGISTER_H_
#define LFM_OPS_REGISTER_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct OrtStatus;
struct OrtSessionOptions;
struct OrtApiBase;

#if defined(_WIN32)
#define LFM_OPS_EXPORT __declspec(dllexport)
#else
#define LFM_OPS_EXPORT __attribute__((visibility("default")))
#endif

/* Adds the domain ai.lfm to the options of a session; null is success. */
LFM_OPS_EXPORT struct OrtStatus* RegisterCustomOps(struct OrtSessionOptions* options,
                                                   const struct OrtApiBase* base);

/* The instruction set that this process computes with, as LFM_OPS_ISA names it. */
LFM_OPS_EXPORT const char* lfm_ops_isa(void);

/* How far ahead weights are fetched when one token is decoded, in bytes: as LFM_OPS_PREFETCH fixes
 * it, else what was best in the trials so far. */
LFM_OPS_EXPORT int64_t lfm_ops_prefetch_bytes(void);

#ifdef __cplusplus
}
#endif

#endif /* LFM_OPS_REGISTER_H_ */
