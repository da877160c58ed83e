#include "unpack.h"

#include <cstring>

#include "half.h"

namespace lfm {
namespace {

float scale_at(const uint8_t* scales, int64_t row) {
  return half_to_float(static_cast<uint16_t>(scales[2 * row] | scales[2 * row + 1] << 8));
}

template <int kColumns>
void unpack_q4(const uint8_t* tile, int64_t row, float* out) {
  const float scale = scale_at(tile + kColumns / 4 * LFM_OPS_LINE_BYTES, row);
  const int shift = row < 16 ? 0 : 4;
  for (int64_t i = 0; i < kColumns; ++i) {
    const int byte = tile[i / 4 * LFM_OPS_LINE_BYTES + row % 16 * 4 + i % 4];
    out[i] = static_cast<float>((byte >> shift & 15) - 8) * scale;
  }
}

void unpack_q6(const uint8_t* tile, int64_t row, float* out) {
  const float scale = scale_at(tile + LFM_OPS_TILE_BYTES_Q6 - LFM_OPS_SCALES_BYTES, row);
  const uint8_t* high = tile + kGroup / 4 * LFM_OPS_LINE_BYTES;
  const int half = row < 16 ? 0 : 1;
  for (int64_t i = 0; i < kGroup; ++i) {
    const int64_t place = row % 16 * 4 + i % 4, odd = i / 4 % 2;
    const int low = tile[i / 4 * LFM_OPS_LINE_BYTES + place] >> 4 * half & 15;
    const int bits = high[i / 8 * LFM_OPS_LINE_BYTES + place] >> (4 * odd + 2 * half) & 3;
    out[i] = static_cast<float>((bits << 4 | low) - 32) * scale;
  }
}

void unpack_q8(const uint8_t* tile, int64_t row, float* out) {
  const float scale = scale_at(tile + LFM_OPS_TILE_BYTES_Q8 - LFM_OPS_SCALES_BYTES, row);
  for (int64_t i = 0; i < kGroup; ++i) {
    const uint8_t byte = tile[i / 4 * 2 * LFM_OPS_LINE_BYTES + row * 4 + i % 4];
    out[i] = static_cast<float>(static_cast<int8_t>(byte)) * scale;
  }
}

void unpack_f32(const uint8_t* tile, int64_t row, float* out) {
  for (int64_t i = 0; i < kGroup; ++i) {
    std::memcpy(out + i, tile + (i * kBlockRows + row) * sizeof *out, sizeof *out);
  }
}

constexpr Unpack* kUnpack[LFM_OPS_FORMATS] = {unpack_f32, unpack_q8, unpack_q6, unpack_q4<32>,
                                              unpack_q4<64>};

}  // namespace

Unpack* unpack_row(const Format& format) { return kUnpack[format.id]; }

}  // namespace lfm
