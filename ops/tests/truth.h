// Plain loops for what the kernels compute, from the same integers and scales, and how to pack.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "half.h"
#include "kernels.h"

namespace truth {

using lfm::Format;
using lfm::Isa;

inline std::vector<Isa> instruction_sets() {
  std::vector<Isa> all;
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512Vnni, Isa::kNeonDotprod,
                  Isa::kNeonI8mm}) {
    if (lfm::isa_available(isa)) all.push_back(isa);
  }
  return all;
}

/// Weights before packing. Without groups only `floats` is filled, else the others.
struct Weights {
  const Format* format;
  int64_t rows, columns;
  std::vector<int8_t> integers;  // [row][column]
  std::vector<uint16_t> scales;  // [row][group of the format]
  std::vector<float> floats;     // [row][column]

  int64_t groups() const { return (columns + 31) / 32; }
  /// The bits of a float16.
  uint16_t half(int64_t row, int64_t column) const {
    const int64_t size = format->group_size;
    return scales[static_cast<size_t>(row * (columns / size) + column / size)];
  }
  float scale(int64_t row, int64_t column) const { return lfm::half_to_float(half(row, column)); }
  /// The weight as a float.
  float at(int64_t row, int64_t column) const {
    const size_t i = static_cast<size_t>(row * columns + column);
    return format->group_size == 0 ? floats[i]
                                   : static_cast<float>(integers[i]) * scale(row, column);
  }
};

using Random = std::mt19937;

inline const Format& kF32 = lfm_ops_formats[LFM_OPS_F32];
inline const Format& kQ8 = lfm_ops_formats[LFM_OPS_Q8];
inline const Format& kQ6 = lfm_ops_formats[LFM_OPS_Q6];
inline const Format& kQ4 = lfm_ops_formats[LFM_OPS_Q4];
inline const Format& kQ4In64 = lfm_ops_formats[LFM_OPS_Q4_64];

inline Weights random_weights(Random& random, const Format& format, int64_t rows, int64_t columns) {
  Weights w{&format, rows, columns, {}, {}, {}};
  const size_t count = static_cast<size_t>(rows * columns);
  if (format.group_size == 0) {
    std::normal_distribution<float> normal;
    w.floats.resize(count);
    for (float& x : w.floats) x = normal(random);
    return w;
  }
  const int most = (1 << (format.bits - 1)) - 1;
  std::uniform_int_distribution<int> integer(-most - 1, most);
  w.integers.resize(count);
  for (int8_t& x : w.integers) x = static_cast<int8_t>(integer(random));
  std::uniform_int_distribution<int> half(0x1000, 0x2fff);  // 0.0005 to 0.12
  w.scales.resize(count / static_cast<size_t>(format.group_size));
  for (uint16_t& x : w.scales) x = static_cast<uint16_t>(half(random) | (random() & 1) << 15);
  return w;
}

/// The packed layout, byte by byte as `lfm_ops/layout.h` describes it.
inline std::vector<uint8_t> pack(const Weights& w) {
  const int64_t tile_bytes = w.format->tile_bytes;
  const int64_t tile_columns = lfm_ops_tile_columns(w.format);
  const int64_t tiles = (w.columns + tile_columns - 1) / tile_columns;
  const LfmOpsFormatId id = w.format->id;
  const bool nibbles = id == LFM_OPS_Q4 || id == LFM_OPS_Q4_64;
  std::vector<uint8_t> packed(
      static_cast<size_t>(lfm_ops_packed_bytes(w.format, w.rows, w.columns)),
      uint8_t(nibbles ? 0x88 : 0));
  if (id == LFM_OPS_Q6) {
    for (size_t i = 0; i < packed.size(); ++i) {
      packed[i] = static_cast<int64_t>(i) % tile_bytes < 512 ? 0 : 0xaa;
    }
  }
  for (int64_t b = 0; b < lfm_ops_row_blocks(w.rows); ++b) {
    for (int64_t g = 0; g < tiles; ++g) {
      uint8_t* tile = packed.data() + (b * tiles + g) * tile_bytes;
      uint8_t* scales = tile + tile_bytes - 64;
      if (id != LFM_OPS_F32) std::memset(scales, 0, 64);
      for (int64_t r = 0; r < 32 && b * 32 + r < w.rows; ++r) {
        const int64_t row = b * 32 + r;
        for (int64_t i = 0; i < tile_columns && g * tile_columns + i < w.columns; ++i) {
          const size_t from = static_cast<size_t>(row * w.columns + g * tile_columns + i);
          const int64_t s = i / 4, j = i % 4;
          if (nibbles) {
            uint8_t& byte = tile[64 * s + 4 * (r % 16) + j];
            const int value = w.integers[from] + 8;
            byte = static_cast<uint8_t>(r < 16 ? (byte & 0xf0) | value : (byte & 15) | value << 4);
          } else if (id == LFM_OPS_Q6) {
            const int value = w.integers[from] + 32;
            const int64_t half = r / 16, place = 4 * (r % 16) + j;
            uint8_t& low = tile[64 * s + place];
            uint8_t& high = tile[512 + 64 * (s / 2) + place];
            const int at = static_cast<int>(4 * (s % 2) + 2 * half);
            low = static_cast<uint8_t>(low | (value & 15) << 4 * half);
            high = static_cast<uint8_t>((high & ~(3 << at)) | value >> 4 << at);
          } else if (id == LFM_OPS_Q8) {
            tile[64 * (2 * s + r / 16) + 4 * (r % 16) + j] = static_cast<uint8_t>(w.integers[from]);
          } else {
            std::memcpy(tile + 128 * i + 4 * r, &w.floats[from], 4);
          }
        }
        if (id != LFM_OPS_F32) {
          const uint16_t half = w.half(row, g * tile_columns);
          std::memcpy(scales + 2 * r, &half, 2);
        }
      }
    }
  }
  return packed;
}

/// One group of activations, rounded; with float weights the floats themselves.
struct Group {
  int integers[32];
  float floats[32];
  float scale;
};

/// Of the last group of a row there may be fewer than 32.
inline Group round_group(const float* x, int64_t count = 32) {
  Group group{};
  float most = 0;
  for (int i = 0; i < count; ++i) {
    group.floats[i] = x[i];
    most = std::fmax(most, std::fabs(x[i]));
  }
  if (most < 0x1p-90f) return group;
  group.scale = most / 127.0f;
  const float inverse = 127.0f / most;
  for (int i = 0; i < count; ++i)
    group.integers[i] = static_cast<int>(std::nearbyint(x[i] * inverse));
  return group;
}

/// `x . w[row]`, group by group.
inline float product(const Weights& w, int64_t row, const std::vector<Group>& x) {
  float sum = 0;
  for (int64_t g = 0; g < w.groups(); ++g) {
    const Group& group = x[static_cast<size_t>(g)];
    const size_t at = static_cast<size_t>(row * w.columns + g * 32);
    if (w.format->group_size == 0) {
      float part = 0;
      for (size_t i = 0; i < 32 && at + i < size_t((row + 1) * w.columns); ++i)
        part = std::fma(group.floats[i], w.floats[at + i], part);
      sum += part;
    } else {
      int dot = 0;
      for (size_t i = 0; i < 32; ++i) dot += group.integers[i] * w.integers[at + i];
      sum = std::fma(static_cast<float>(dot) * w.scale(row, g * 32), group.scale, sum);
    }
  }
  return sum;
}

inline std::vector<Group> round_row(const float* x, int64_t columns) {
  std::vector<Group> groups;
  for (int64_t i = 0; i < columns; i += 32) {
    groups.push_back(round_group(x + i, columns - i < 32 ? columns - i : 32));
  }
  return groups;
}

/// `x w^T`: [tokens][rows].
inline std::vector<float> linear(const Weights& w, const std::vector<float>& x) {
  std::vector<float> out;
  for (size_t t = 0; t < x.size(); t += static_cast<size_t>(w.columns)) {
    const std::vector<Group> row = round_row(x.data() + t, w.columns);
    for (int64_t r = 0; r < w.rows; ++r) out.push_back(product(w, r, row));
  }
  return out;
}

inline std::vector<float> normal_values(Random& random, size_t count, float size = 1) {
  std::normal_distribution<float> normal(0, size);
  std::vector<float> x(count);
  for (float& value : x) value = normal(random);
  return x;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline double rms(const std::vector<float>& x) {
  double sum = 0;
  for (float value : x) sum += double{value} * value;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::fmax(most, std::fabs(double{a[i]} - b[i]));
  return most;
}

/// Memory for the Rows that weights of one format are multiplied with.
class RowsMemory {
 public:
  RowsMemory(const Format& weights, int64_t tokens, int64_t columns)
      : values_(static_cast<size_t>(tokens * lfm_ops_column_groups(columns) * 32 *
                                    (weights.activations == LFM_OPS_FLOAT32 ? 4 : 1))),
        scales_(static_cast<size_t>(tokens * lfm_ops_column_groups(columns))),
        offsets_(scales_.size()),
        rows{values_.data(), scales_.data(), offsets_.data(), tokens} {}

 private:
  std::vector<int8_t> values_;
  std::vector<float> scales_;
  std::vector<int32_t> offsets_;

 public:
  lfm::Rows rows;
};

}  // namespace truth
