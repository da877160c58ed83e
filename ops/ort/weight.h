// What the ops of packed weights share: the formats of their matrices, the check of their bytes.
#pragma once

#include "attributes.h"
#include "lfm_ops/layout.h"
#include "packed_matrix.h"
#include "tensor.h"

namespace lfm {

// The format of a matrix, and what can be asked of its inputs.
class WeightFormat {
 public:
  WeightFormat(const Attributes& attributes, const char* name)
      : attribute_(name), format_(lfm_ops_format_named(attributes.text(name).c_str())) {
    if (format_ != nullptr) return;
    std::string names;
    for (const Format& format : lfm_ops_formats) {
      names += (names.empty() ? "" : ", ") + std::string(format.name);
    }
    throw Failure(Attributes::label(name) + "got \"" + attributes.text(name) + "\", want one of " +
                  names);
  }

  const Format& operator*() const { return *format_; }
  const Format* get() const { return format_; }

  // Reads the attribute `name`: how many inputs the matrix has.
  int64_t columns(const Attributes& attributes, const char* name) const {
    const int64_t columns = attributes.size(name);
    if (!lfm_ops_takes_columns(format_, columns)) {
      throw Failure(Attributes::label(name) + "got " + std::to_string(columns) +
                    ", want a multiple of " + std::to_string(format_->group_size) + ", as " +
                    attribute_ + " is " + format_->name);
    }
    return columns;
  }

  // The matrix that lies in `tensor`, read in place.
  PackedMatrix matrix(const Tensor& tensor, int64_t rows, int64_t columns) const {
    tensor.require({lfm_ops_packed_bytes(format_, rows, columns)});
    return {tensor.as<uint8_t>(), format_, rows, columns};
  }

  // `count` matrices, one after another.
  const uint8_t* stack(const Tensor& tensor, int64_t count, int64_t rows, int64_t columns) const {
    tensor.require({count, lfm_ops_packed_bytes(format_, rows, columns)});
    return tensor.as<uint8_t>();
  }

 private:
  const char* attribute_;
  const Format* format_;
};

// The values of a small float tensor, or null where it is optional and absent.
inline const float* vector_of(const Tensor& tensor, int64_t size) {
  return tensor ? tensor.require({size}).as<float>() : nullptr;
}

}  // namespace lfm
