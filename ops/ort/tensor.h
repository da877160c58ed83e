// A tensor of ONNX Runtime as an op sees it: a name, a type, a shape and memory.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "failure.h"

namespace lfm {

constexpr int64_t kAny = -1;  // in a wanted shape: any size

struct Tensor {
  static constexpr size_t kMaxRank = 8;

  const char* name = "";
  OrtElementType type = kOrtUndefined;
  size_t rank = 0;
  std::array<int64_t, kMaxRank> dims{};
  void* data = nullptr;  // null: an optional tensor that is absent

  explicit operator bool() const { return data != nullptr; }

  template <class T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  template <class T>
  T* as_mutable() const {
    return static_cast<T*>(data);
  }

  int64_t last() const { return rank == 0 ? 1 : dims[rank - 1]; }

  // The product of all dimensions but the last: how many rows there are.
  int64_t rows() const {
    int64_t product = 1;
    for (size_t i = 0; i + 1 < rank; ++i) product *= dims[i];
    return product;
  }

  // Throws unless the shape is the wanted one; returns the tensor, so that checks chain.
  const Tensor& require(std::initializer_list<int64_t> want) const {
    const bool same =
        rank == want.size() && std::equal(want.begin(), want.end(), dims.begin(),
                                          [](int64_t w, int64_t d) { return w == kAny || w == d; });
    if (!same) refuse(shape_text(want.begin(), want.size()));
    return *this;
  }

  // As `require`, for a tensor of any rank from 1 on whose last dimension matters.
  const Tensor& require_last(int64_t want) const {
    if (rank == 0 || last() != want) refuse("[..., " + std::to_string(want) + "]");
    return *this;
  }

  // Throws unless the shape is that of `other`.
  const Tensor& require_like(const Tensor& other) const {
    if (rank != other.rank || !std::equal(dims.begin(), dims.begin() + rank, other.dims.begin())) {
      refuse(shape_text(other.dims.data(), other.rank));
    }
    return *this;
  }

  [[noreturn]] void refuse(const std::string& want) const {
    throw Failure(std::string(name) + ": got shape " + shape_text(dims.data(), rank) + ", want " +
                  want);
  }

  static std::string shape_text(const int64_t* dims, size_t rank) {
    std::string text = "[";
    for (size_t i = 0; i < rank; ++i) {
      if (i > 0) text += ", ";
      text += dims[i] == kAny ? "?" : std::to_string(dims[i]);
    }
    return text + "]";
  }
};

inline const char* type_name(OrtElementType type) {
  switch (type) {
    case kOrtFloat:
      return "float32";
    case kOrtUint8:
      return "uint8";
    case kOrtInt8:
      return "int8";
    case kOrtInt64:
      return "int64";
    case kOrtFloat16:
      return "float16";
    default:
      return "another type";
  }
}

}  // namespace lfm
