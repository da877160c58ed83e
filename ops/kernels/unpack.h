// One row of a tile as floats.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace lfm {

/// `out[i]`: the weights of `row` (0 to 31) in a tile, as many as it has columns.
using Unpack = void(const uint8_t* tile, int64_t row, float* out);

Unpack* unpack_row(const Format& format);

}  // namespace lfm
