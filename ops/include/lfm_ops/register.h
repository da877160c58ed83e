/* How the ops are made known to ONNX Runtime.
 *
 * Loaded: SessionOptions.register_custom_ops_library(path) finds RegisterCustomOps by its name.
 * Linked in (where an app may load no libraries of its own): call it, or hand its name to
 * RegisterCustomOpsUsingFunction.
 */
#ifndef LFM_OPS_REGISTER_H_
#define LFM_OPS_REGISTER_H_

#ifdef __cplusplus
extern "C" {
#endif

struct OrtStatus;
struct OrtSessionOptions;
struct OrtApiBase;

#if defined(_WIN32)
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
/* Adds the domain ai.lfm to the options of a session; null is success. */
struct OrtStatus* RegisterCustomOps(struct OrtSessionOptions* options,
                                    const struct OrtApiBase* base);

#ifdef __cplusplus
}
#endif

#endif /* LFM_OPS_REGISTER_H_ */
