// The ops of the domain ai.lfm; docs/ops.md says what they do.
#pragma once

#include "ort_abi.h"

namespace lfm {

const OrtCustomOp* add_rms_norm_op();
const OrtCustomOp* quantized_linear_op();
const OrtCustomOp* quantized_embedding_op();
const OrtCustomOp* gated_mlp_op();
const OrtCustomOp* sparse_moe_op();
const OrtCustomOp* gated_short_conv_op();
const OrtCustomOp* cached_attention_float_op();
const OrtCustomOp* cached_attention_float16_op();
const OrtCustomOp* cached_attention_int8_op();

}  // namespace lfm
