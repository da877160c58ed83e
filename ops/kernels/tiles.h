// Where the groups of a block of packed weights lie.
#pragma once

#include "kernels.h"

namespace lfm {
namespace {

/// Tiles of `kBytes`, each of `kGroups` groups of 32 inputs that share their scales.
template <int kBytes, int kGroups>
struct TilesOf {
  /// What a group takes, its part of the scales included.
  static constexpr int kGroupBytes = kBytes / kGroups;

  static LFM_INLINE const uint8_t* weights(const uint8_t* block, int64_t group) {
    constexpr int kWeightBytes = (kBytes - LFM_OPS_SCALES_BYTES) / kGroups;
    return block + group / kGroups * kBytes + group % kGroups * kWeightBytes;
  }
  static LFM_INLINE const uint8_t* scales(const uint8_t* block, int64_t group) {
    return block + (group / kGroups + 1) * kBytes - LFM_OPS_SCALES_BYTES;
  }
};

using Q8Tiles = TilesOf<LFM_OPS_TILE_BYTES_Q8, 1>;
using Q6Tiles = TilesOf<LFM_OPS_TILE_BYTES_Q6, 1>;
using Q4Tiles = TilesOf<LFM_OPS_TILE_BYTES_Q4, 1>;
using Q4In64Tiles = TilesOf<LFM_OPS_TILE_BYTES_Q4_64, 2>;

}  // namespace
}  // namespace lfm
