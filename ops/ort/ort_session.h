// The further slots of ONNX Runtime's C ABI that a program needs to run a graph; see ort_abi.h.
#pragma once

#include "ort_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;

typedef enum OrtLoggingLevel { kOrtLogFatal = 4 } OrtLoggingLevel;
typedef enum OrtAllocatorType { kOrtArenaAllocator = 1 } OrtAllocatorType;

LFM_ORT_SLOT(3, OrtStatus*, CreateEnv, OrtLoggingLevel, const char* name, OrtEnv** out)
LFM_ORT_SLOT(7, OrtStatus*, CreateSession, const OrtEnv*, const char* path,
             const OrtSessionOptions*, OrtSession** out)
LFM_ORT_SLOT(9, OrtStatus*, Run, OrtSession*, const OrtRunOptions*, const char* const* input_names,
             const OrtValue* const* inputs, size_t input_count, const char* const* output_names,
             size_t output_count, OrtValue** outputs)
LFM_ORT_SLOT(10, OrtStatus*, CreateSessionOptions, OrtSessionOptions** out)
LFM_ORT_SLOT(24, OrtStatus*, SetIntraOpNumThreads, OrtSessionOptions*, int threads)
LFM_ORT_SLOT(49, OrtStatus*, CreateTensorWithDataAsOrtValue, const OrtMemoryInfo*, void* data,
             size_t bytes, const int64_t* dims, size_t rank, OrtElementType, OrtValue** out)
LFM_ORT_SLOT(69, OrtStatus*, CreateCpuMemoryInfo, OrtAllocatorType, OrtMemoryType,
             OrtMemoryInfo** out)
LFM_ORT_SLOT(92, void, ReleaseEnv, OrtEnv*)
LFM_ORT_SLOT(94, void, ReleaseMemoryInfo, OrtMemoryInfo*)
LFM_ORT_SLOT(95, void, ReleaseSession, OrtSession*)
LFM_ORT_SLOT(96, void, ReleaseValue, OrtValue*)
LFM_ORT_SLOT(100, void, ReleaseSessionOptions, OrtSessionOptions*)
LFM_ORT_SLOT(228, OrtStatus*, RegisterCustomOpsLibrary_V2, OrtSessionOptions*, const char* path)

#ifdef __cplusplus
}
#endif
