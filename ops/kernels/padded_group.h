// A group of a row of floats whose length need not be whole groups.
#pragma once

#include <cstdint>

#include "compiler.h"
#include "kernels.h"

namespace lfm {
namespace {

/// `row[at ..]`, 32 floats: read where they lie or, where fewer are left, followed by zeros.
class PaddedGroup {
 public:
  LFM_INLINE PaddedGroup(const float* row, int64_t at, int64_t size) : data(row + at) {
    if (size - at >= kGroup) return;
    for (int64_t i = 0; i < kGroup; ++i) copy_[i] = at + i < size ? row[at + i] : 0.0f;
    data = copy_;
  }
  PaddedGroup(const PaddedGroup&) = delete;
  PaddedGroup& operator=(const PaddedGroup&) = delete;

  const float* data;

 private:
  float copy_[kGroup];
};

}  // namespace
}  // namespace lfm
