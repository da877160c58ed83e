// Carves arrays out of one piece of memory; with no memory it only counts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels.h"

namespace lfm {

class Workspace {
 public:
  explicit Workspace(void* memory = nullptr) : base_(static_cast<std::byte*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    T* at = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }

  // The activations that weights of this format are multiplied with.
  Rows take_rows(const Format& weights, int64_t tokens, int64_t columns) {
    const int64_t groups = tokens * lfm_ops_column_groups(columns);
    if (weights.activations == LFM_OPS_FLOAT32) {
      return {take<float>(groups * kGroup), nullptr, nullptr, tokens};
    }
    int8_t* values = take<int8_t>(groups * kGroup);
    float* scales = take<float>(groups);
    return {values, scales, take<int32_t>(groups), tokens};
  }

  // Makes room for what `other` took, a copy from before: the two lie in the same place.
  void overlap(const Workspace& other) { bytes_ = std::max(bytes_, other.bytes_); }

  int64_t bytes() const { return bytes_; }

 private:
  static constexpr int64_t kAlignment = 64;
  std::byte* base_;
  int64_t bytes_ = 0;
};

}  // namespace lfm
