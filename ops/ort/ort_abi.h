// The part of ONNX Runtime's C ABI that these ops call.
//
// The ABI is a table of function pointers that only ever grows at its end: a slot number holds for
// every later release. API version 16 is asked for and no slot that came later is used, so one
// binary loads into every ONNX Runtime from 1.16 on.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct OrtStatus OrtStatus;  // null: success
typedef struct OrtValue OrtValue;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtShapeInferContext OrtShapeInferContext;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;

enum { kOrtApiVersion = 16, kOrtApiSlots = 275 };

typedef struct OrtApi {
  void* slot[kOrtApiSlots];
} OrtApi;

typedef struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);  // null: this ONNX Runtime is older than that
  const char* (*GetVersionString)(void);
} OrtApiBase;

typedef enum OrtErrorCode { kOrtFail = 1, kOrtInvalidArgument = 2 } OrtErrorCode;

typedef int OrtElementType;  // an int, as newer releases have more of them than these
enum {
  kOrtUndefined = 0,  // as the type of an op's input: any
  kOrtFloat = 1,
  kOrtUint8 = 2,
  kOrtInt8 = 3,
  kOrtInt64 = 7,
  kOrtFloat16 = 10,
};

typedef enum OrtCharacteristic { kOrtRequired = 0, kOrtOptional = 1 } OrtCharacteristic;
typedef enum OrtMemoryType { kOrtMemoryDefault = 0 } OrtMemoryType;

// LFM_ORT_SLOT(number, returns, name, parameters): a typed view of one slot; ort_Name(api)(...).
#define LFM_ORT_SLOT(number, returns, name, ...)               \
  typedef returns (*ort_##name##_t)(__VA_ARGS__);              \
  static inline ort_##name##_t ort_##name(const OrtApi* api) { \
    return (ort_##name##_t)api->slot[number];                  \
  }

LFM_ORT_SLOT(0, OrtStatus*, CreateStatus, OrtErrorCode, const char* message)
LFM_ORT_SLOT(2, const char*, GetErrorMessage, const OrtStatus*)
LFM_ORT_SLOT(26, OrtStatus*, CreateCustomOpDomain, const char* domain, OrtCustomOpDomain** out)
LFM_ORT_SLOT(27, OrtStatus*, CustomOpDomain_Add, OrtCustomOpDomain*, const struct OrtCustomOp*)
LFM_ORT_SLOT(28, OrtStatus*, AddCustomOpDomain, OrtSessionOptions*, OrtCustomOpDomain*)
LFM_ORT_SLOT(51, OrtStatus*, GetTensorMutableData, OrtValue*, void** out)
LFM_ORT_SLOT(60, OrtStatus*, GetTensorElementType, const OrtTensorTypeAndShapeInfo*,
             OrtElementType* out)
LFM_ORT_SLOT(61, OrtStatus*, GetDimensionsCount, const OrtTensorTypeAndShapeInfo*, size_t* out)
LFM_ORT_SLOT(62, OrtStatus*, GetDimensions, const OrtTensorTypeAndShapeInfo*, int64_t* out,
             size_t count)
LFM_ORT_SLOT(65, OrtStatus*, GetTensorTypeAndShape, const OrtValue*,
             OrtTensorTypeAndShapeInfo** out)
LFM_ORT_SLOT(85, OrtStatus*, KernelInfoGetAttribute_float, const OrtKernelInfo*, const char* name,
             float* out)
LFM_ORT_SLOT(86, OrtStatus*, KernelInfoGetAttribute_int64, const OrtKernelInfo*, const char* name,
             int64_t* out)
LFM_ORT_SLOT(87, OrtStatus*, KernelInfoGetAttribute_string, const OrtKernelInfo*, const char* name,
             char* out, size_t* size)
LFM_ORT_SLOT(88, OrtStatus*, KernelContext_GetInputCount, const OrtKernelContext*, size_t* out)
LFM_ORT_SLOT(89, OrtStatus*, KernelContext_GetOutputCount, const OrtKernelContext*, size_t* out)
LFM_ORT_SLOT(90, OrtStatus*, KernelContext_GetInput, const OrtKernelContext*, size_t index,
             const OrtValue** out)
LFM_ORT_SLOT(91, OrtStatus*, KernelContext_GetOutput, OrtKernelContext*, size_t index,
             const int64_t* dims, size_t rank, OrtValue** out)
LFM_ORT_SLOT(93, void, ReleaseStatus, OrtStatus*)
LFM_ORT_SLOT(99, void, ReleaseTensorTypeAndShapeInfo, OrtTensorTypeAndShapeInfo*)
LFM_ORT_SLOT(101, void, ReleaseCustomOpDomain, OrtCustomOpDomain*)
LFM_ORT_SLOT(244, OrtStatus*, KernelInfo_GetNodeName, const OrtKernelInfo*, char* out, size_t* size)
LFM_ORT_SLOT(274, OrtStatus*, KernelContext_ParallelFor, const OrtKernelContext*,
             void (*fn)(void* user, size_t index), size_t total, size_t batches, void* user)

// One op: the fields in ONNX Runtime's order. Null where a function is not needed; the functions
// that ONNX Runtime calls without asking are the ones set in custom_op.h.
typedef struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  OrtElementType (*GetInputType)(const OrtCustomOp*, size_t);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  OrtElementType (*GetOutputType)(const OrtCustomOp*, size_t);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void*, OrtKernelContext*);
  void (*KernelDestroy)(void*);
  OrtCharacteristic (*GetInputCharacteristic)(const OrtCustomOp*, size_t);
  OrtCharacteristic (*GetOutputCharacteristic)(const OrtCustomOp*, size_t);
  OrtMemoryType (*GetInputMemoryType)(const OrtCustomOp*, size_t);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void**);
  OrtStatus* (*KernelComputeV2)(void*, OrtKernelContext*);
  OrtStatus* (*InferOutputShapeFn)(const OrtCustomOp*, OrtShapeInferContext*);
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  size_t (*GetMayInplace)(int** input, int** output);
  void (*ReleaseMayInplace)(int* input, int* output);
  size_t (*GetAliasMap)(int** input, int** output);
  void (*ReleaseAliasMap)(int* input, int* output);
} OrtCustomOp;

#ifdef __cplusplus
}
#endif
