// What the ops of packed weights share: their attributes, and the check of a weight's bytes.
#pragma once

#include "attributes.h"
#include "lfm_ops/layout.h"
#include "linear.h"
#include "tensor.h"

namespace lfm {

struct WeightFormat {
  explicit WeightFormat(const Attributes& attributes)
      : bits(attributes.integer("bits", 1, 32)),
        block_size(attributes.integer("block_size", 1, 1 << 16)) {
    if (!lfm_ops_layout_supported(bits, block_size)) {
      throw Failure("attributes bits and block_size: got " + std::to_string(bits) + " and " +
                    std::to_string(block_size) + ", want 4, 8 or 32 bits in blocks of " +
                    std::to_string(LFM_OPS_BLOCK_SIZE));
    }
  }

  // Reads the attribute `name`: inputs of a weight, whole groups of them.
  static int64_t columns(const Attributes& attributes, const char* name) {
    const int64_t columns = attributes.size(name);
    if (columns % LFM_OPS_BLOCK_SIZE != 0) {
      throw Failure(Attributes::label(name) + "got " + std::to_string(columns) +
                    ", want a multiple of " + std::to_string(LFM_OPS_BLOCK_SIZE));
    }
    return columns;
  }

  // The matrix that lies in `tensor`, read in place.
  PackedMatrix matrix(const Tensor& tensor, int64_t rows, int64_t columns) const {
    tensor.require({lfm_ops_packed_bytes(bits, rows, columns)});
    return {tensor.as<uint8_t>(), bits, rows, columns};
  }

  // `count` matrices, one after another.
  const uint8_t* stack(const Tensor& tensor, int64_t count, int64_t rows, int64_t columns) const {
    tensor.require({count, lfm_ops_packed_bytes(bits, rows, columns)});
    return tensor.as<uint8_t>();
  }

  int64_t bits;
  int64_t block_size;
};

// The values of a small float tensor, or null where it is optional and absent.
inline const float* vector_of(const Tensor& tensor, int64_t size) {
  return tensor ? tensor.require({size}).as<float>() : nullptr;
}

}  // namespace lfm
