// A matrix of packed weights, read where it lies.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace lfm {

/// Packed weights; the format takes so many columns.
struct PackedMatrix {
  const uint8_t* data;
  const Format* format;
  int64_t rows;
  int64_t columns;

  int64_t groups() const { return lfm_ops_column_groups(columns); }
  int64_t row_blocks() const { return lfm_ops_row_blocks(rows); }
  int64_t bytes() const { return lfm_ops_packed_bytes(format, rows, columns); }
  const uint8_t* block(int64_t index) const {
    return data + index * lfm_ops_block_bytes(format, columns);
  }
};

}  // namespace lfm
