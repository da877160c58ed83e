// The further slots of ONNX Runtime's C ABI that a program needs to run a graph; see ort_abi.h.
// A string that has an allocator is freed by it.
#pragma once

#include "ort_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtIoBinding OrtIoBinding;
typedef struct OrtModelMetadata OrtModelMetadata;
typedef struct OrtTypeInfo OrtTypeInfo;

typedef enum OrtLoggingLevel { kOrtLogFatal = 4 } OrtLoggingLevel;
typedef enum OrtAllocatorType { kOrtArenaAllocator = 1 } OrtAllocatorType;

LFM_ORT_SLOT(1, OrtErrorCode, GetErrorCode, const OrtStatus*)
LFM_ORT_SLOT(3, OrtStatus*, CreateEnv, OrtLoggingLevel, const char* name, OrtEnv** out)
LFM_ORT_SLOT(7, OrtStatus*, CreateSession, const OrtEnv*, const char* path,
             const OrtSessionOptions*, OrtSession** out)
LFM_ORT_SLOT(9, OrtStatus*, Run, OrtSession*, const OrtRunOptions*, const char* const* input_names,
             const OrtValue* const* inputs, size_t input_count, const char* const* output_names,
             size_t output_count, OrtValue** outputs)
LFM_ORT_SLOT(10, OrtStatus*, CreateSessionOptions, OrtSessionOptions** out)
LFM_ORT_SLOT(17, OrtStatus*, DisableMemPattern, OrtSessionOptions*)
LFM_ORT_SLOT(22, OrtStatus*, SetSessionLogSeverityLevel, OrtSessionOptions*, int level)
LFM_ORT_SLOT(24, OrtStatus*, SetIntraOpNumThreads, OrtSessionOptions*, int threads)
LFM_ORT_SLOT(30, OrtStatus*, SessionGetInputCount, const OrtSession*, size_t* out)
LFM_ORT_SLOT(31, OrtStatus*, SessionGetOutputCount, const OrtSession*, size_t* out)
LFM_ORT_SLOT(33, OrtStatus*, SessionGetInputTypeInfo, const OrtSession*, size_t, OrtTypeInfo** out)
LFM_ORT_SLOT(34, OrtStatus*, SessionGetOutputTypeInfo, const OrtSession*, size_t, OrtTypeInfo** out)
LFM_ORT_SLOT(36, OrtStatus*, SessionGetInputName, const OrtSession*, size_t, OrtAllocator*,
             char** out)
LFM_ORT_SLOT(37, OrtStatus*, SessionGetOutputName, const OrtSession*, size_t, OrtAllocator*,
             char** out)
LFM_ORT_SLOT(39, OrtStatus*, CreateRunOptions, OrtRunOptions** out)
LFM_ORT_SLOT(49, OrtStatus*, CreateTensorWithDataAsOrtValue, const OrtMemoryInfo*, void* data,
             size_t bytes, const int64_t* dims, size_t rank, OrtElementType, OrtValue** out)
LFM_ORT_SLOT(55, OrtStatus*, CastTypeInfoToTensorInfo, const OrtTypeInfo*,
             const OrtTensorTypeAndShapeInfo** out)
LFM_ORT_SLOT(69, OrtStatus*, CreateCpuMemoryInfo, OrtAllocatorType, OrtMemoryType,
             OrtMemoryInfo** out)
LFM_ORT_SLOT(76, OrtStatus*, AllocatorFree, OrtAllocator*, void*)
LFM_ORT_SLOT(78, OrtStatus*, GetAllocatorWithDefaultOptions, OrtAllocator** out)
LFM_ORT_SLOT(92, void, ReleaseEnv, OrtEnv*)
LFM_ORT_SLOT(94, void, ReleaseMemoryInfo, OrtMemoryInfo*)
LFM_ORT_SLOT(95, void, ReleaseSession, OrtSession*)
LFM_ORT_SLOT(96, void, ReleaseValue, OrtValue*)
LFM_ORT_SLOT(97, void, ReleaseRunOptions, OrtRunOptions*)
LFM_ORT_SLOT(98, void, ReleaseTypeInfo, OrtTypeInfo*)
LFM_ORT_SLOT(100, void, ReleaseSessionOptions, OrtSessionOptions*)
LFM_ORT_SLOT(111, OrtStatus*, SessionGetModelMetadata, const OrtSession*, OrtModelMetadata** out)
LFM_ORT_SLOT(116, OrtStatus*, ModelMetadataLookupCustomMetadataMap, const OrtModelMetadata*,
             OrtAllocator*, const char* key, char** out)
LFM_ORT_SLOT(118, void, ReleaseModelMetadata, OrtModelMetadata*)
LFM_ORT_SLOT(133, OrtStatus*, RunWithBinding, OrtSession*, const OrtRunOptions*,
             const OrtIoBinding*)
LFM_ORT_SLOT(134, OrtStatus*, CreateIoBinding, OrtSession*, OrtIoBinding** out)
LFM_ORT_SLOT(135, void, ReleaseIoBinding, OrtIoBinding*)
LFM_ORT_SLOT(136, OrtStatus*, BindInput, OrtIoBinding*, const char* name, const OrtValue*)
LFM_ORT_SLOT(137, OrtStatus*, BindOutput, OrtIoBinding*, const char* name, const OrtValue*)
LFM_ORT_SLOT(228, OrtStatus*, RegisterCustomOpsLibrary_V2, OrtSessionOptions*, const char* path)

#ifdef __cplusplus
}
#endif
