// Attention of a few queries over one span of keys, for the Lanes of the file that includes this.
//
// Both products are one routine, C[rows][n] += A[rows][k] B[k][n] with k ascending: scores =
// queries x keys^T, values += weights x values. A block of keys is transposed, a block of values
// widened to float32 once for all rows.
#pragma once

#include "lanes_math_impl.h"
#include "stateful.h"

namespace lfm {
namespace {

constexpr float kNoScore = -1e30f;  // less than any score, and finite: differences stay numbers
constexpr float kLeastExponent = -87.0f;

// e^x of x <= 0; exactly 1 at 0, and 0 below e^-87.
LFM_INLINE F exp_negative(F x) {
  const F least = Lanes::set(kLeastExponent);
  const Exponential e = exponential<false>(Lanes::max(x, least));
  return Lanes::where_at_least(x, least, Lanes::mul(e.p, Lanes::power_of_two(e.n)));
}

float exp_of_one(float x) {
  float lanes[kWidth];
  Lanes::store(lanes, exp_negative(Lanes::set(x)));
  return lanes[0];
}

struct Product {
  const float* a;
  const float* b;
  float* c;
  int64_t a_stride, b_stride, c_stride, depth;
};

template <int kRows, int kVectors>
LFM_INLINE void product_tile(const Product& m, int64_t row, int64_t column) {
  const float* a = m.a + row * m.a_stride;
  const float* b = m.b + column;
  float* c = m.c + row * m.c_stride + column;
  F sum[kRows][kVectors];
  LFM_UNROLL for (int r = 0; r < kRows; ++r) {
    LFM_UNROLL for (int v = 0; v < kVectors; ++v) {
      sum[r][v] = Lanes::load(c + r * m.c_stride + v * kWidth);
    }
  }
  for (int64_t k = 0; k < m.depth; ++k) {
    F line[kVectors];
    LFM_UNROLL for (int v = 0; v < kVectors; ++v) {
      line[v] = Lanes::load(b + k * m.b_stride + v * kWidth);
    }
    LFM_UNROLL for (int r = 0; r < kRows; ++r) {
      const F factor = Lanes::set(a[r * m.a_stride + k]);
      LFM_UNROLL for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = Lanes::fma(factor, line[v], sum[r][v]);
      }
    }
  }
  LFM_UNROLL for (int r = 0; r < kRows; ++r) {
    LFM_UNROLL for (int v = 0; v < kVectors; ++v) {
      Lanes::store(c + r * m.c_stride + v * kWidth, sum[r][v]);
    }
  }
}

template <int kVectors>
void product_columns(const Product& m, int64_t rows, int64_t column) {
  int64_t row = 0;
  for (; row + Lanes::kTileRows <= rows; row += Lanes::kTileRows) {
    product_tile<Lanes::kTileRows, kVectors>(m, row, column);
  }
  for (; row + 4 <= rows; row += 4) product_tile<4, kVectors>(m, row, column);
  for (; row < rows; ++row) product_tile<1, kVectors>(m, row, column);
}

// C += A B; `columns` is a multiple of 16.
void multiply(const Product& m, int64_t rows, int64_t columns) {
  constexpr int64_t kStep = Lanes::kTileVectors * kWidth;
  int64_t column = 0;
  for (; column + kStep <= columns; column += kStep) {
    product_columns<Lanes::kTileVectors>(m, rows, column);
  }
  for (; column < columns; column += kWidth) product_columns<1>(m, rows, column);
}

// Some neighbouring keys or values of one head.
template <class T>
struct Piece {
  const T* data;
  const float* scales;  // for int8
  int64_t count, head_dim;

  LFM_INLINE F load(int64_t position, int64_t d) const {
    const F x = Lanes::load(data + position * head_dim + d);
    return sizeof(T) == 1 ? Lanes::mul(x, Lanes::set(scales[position])) : x;
  }
};

// out[d][key], a column for each of the kKeyBlock keys; zeros where there is none.
template <class T>
void transpose_keys(const Piece<T>& keys, float* out) {
  for (int64_t key = 0; key < kKeyBlock; key += kWidth) {
    for (int64_t d = 0; d < keys.head_dim; d += kWidth) {
      F square[kWidth];
      LFM_UNROLL for (int i = 0; i < kWidth; ++i) {
        square[i] = key + i < keys.count ? keys.load(key + i, d) : Lanes::set(0.0f);
      }
      Lanes::transpose(square);
      LFM_UNROLL for (int i = 0; i < kWidth; ++i) {
        Lanes::store(out + (d + i) * kKeyBlock + key, square[i]);
      }
    }
  }
}

template <class T>
void widen_values(const Piece<T>& values, float* out) {
  for (int64_t position = 0; position < values.count; ++position) {
    for (int64_t d = 0; d < values.head_dim; d += kWidth) {
      Lanes::store(out + position * values.head_dim + d, values.load(position, d));
    }
  }
}

LFM_INLINE void scale_row(float* row, int64_t size, float factor) {
  const F f = Lanes::set(factor);
  for (int64_t d = 0; d < size; d += kWidth)
    Lanes::store(row + d, Lanes::mul(Lanes::load(row + d), f));
}

// One step of the online softmax for one row: scores of keys [begin, end) of the block become
// weights, the others 0, and what was summed so far is brought down to the new largest score.
void soften(float* scores, int64_t begin, int64_t end, int64_t head_dim, const SoftmaxSum& sum,
            int64_t row) {
  for (int64_t i = 0; i < begin; ++i) scores[i] = kNoScore;
  for (int64_t i = end; i < kKeyBlock; ++i) scores[i] = kNoScore;
  F most = Lanes::load(scores);
  for (int64_t i = kWidth; i < kKeyBlock; i += kWidth) {
    most = Lanes::max(most, Lanes::load(scores + i));
  }
  const float block_max = max_of(most);
  const float largest = block_max > sum.max[row] ? block_max : sum.max[row];
  const float correction = exp_of_one(sum.max[row] - largest);
  F total = Lanes::set(0.0f);
  for (int64_t i = 0; i < kKeyBlock; i += kWidth) {
    const F weight = exp_negative(Lanes::sub(Lanes::load(scores + i), Lanes::set(largest)));
    Lanes::store(scores + i, weight);
    total = Lanes::add(total, weight);
  }
  sum.max[row] = largest;
  sum.sum[row] = sum.sum[row] * correction + sum_of(total);
  scale_row(sum.values + row * head_dim, head_dim, correction);
}

int64_t clamp_to_block(int64_t key, int64_t block_start) {
  const int64_t offset = key - block_start;
  return offset < 0 ? 0 : offset > kKeyBlock ? kKeyBlock : offset;
}

template <class T>
void attend_block(const AttentionTile& tile, int64_t start, float* scratch, const SoftmaxSum& out) {
  const int64_t dim = tile.head_dim, count = clamp_to_block(tile.last_position() + 1, start);
  const int64_t unseen = clamp_to_block(tile.first_key(tile.position), start);
  const int64_t slot = start % tile.slots;
  float* keys = scratch;
  float* values = keys + kKeyBlock * dim;
  float* scores = values + kKeyBlock * dim;
  const T* key_data = static_cast<const T*>(tile.key.data) + slot * dim;
  const T* value_data = static_cast<const T*>(tile.value.data) + slot * dim;
  const bool scaled = sizeof(T) == 1;
  transpose_keys<T>({key_data, scaled ? tile.key.scales + slot : nullptr, count, dim}, keys);
  widen_values<T>({value_data, scaled ? tile.value.scales + slot : nullptr, count, dim}, values);

  for (int64_t i = 0; i < tile.rows * kKeyBlock; ++i) scores[i] = 0.0f;
  multiply({tile.query, keys, scores, dim, kKeyBlock, kKeyBlock, dim}, tile.rows, kKeyBlock);
  for (int64_t row = 0; row < tile.rows; ++row) {
    const int64_t at = tile.position + row / tile.group;
    float* row_scores = scores + row * kKeyBlock;
    const int64_t begin = clamp_to_block(tile.first_key(at), start);
    const int64_t end = clamp_to_block(at + 1, start);
    if (begin < end) {
      soften(row_scores, begin, end, dim, out, row);
    } else {
      for (int64_t i = 0; i < kKeyBlock; ++i) row_scores[i] = 0.0f;
    }
  }
  // What no token sees may be any number: its slots may hold later positions.
  multiply(
      {scores + unseen, values + unseen * dim, out.values, kKeyBlock, dim, dim, count - unseen},
      tile.rows, dim);
}

void clear(const SoftmaxSum& sum, int64_t rows, int64_t head_dim) {
  for (int64_t row = 0; row < rows; ++row) {
    sum.max[row] = kNoScore;
    sum.sum[row] = 0.0f;
  }
  for (int64_t i = 0; i < rows * head_dim; ++i) sum.values[i] = 0.0f;
}

void attend(const AttentionTile& tile, int64_t span, float* scratch, const SoftmaxSum& out) {
  clear(out, tile.rows, tile.head_dim);
  const int64_t first = tile.first_key(tile.position), span_start = span * kKeySpan;
  const int64_t start = first > span_start ? first / kKeyBlock * kKeyBlock : span_start;
  const int64_t last = tile.last_position(), span_end = span_start + kKeySpan;
  for (int64_t block = start; block < span_end && block <= last; block += kKeyBlock) {
    switch (tile.type) {
      case CacheType::kFloat:
        attend_block<float>(tile, block, scratch, out);
        break;
      case CacheType::kFloat16:
        attend_block<uint16_t>(tile, block, scratch, out);
        break;
      case CacheType::kInt8:
        attend_block<int8_t>(tile, block, scratch, out);
        break;
    }
  }
}

void merge(const SoftmaxSum& part, int64_t rows, int64_t head_dim, const SoftmaxSum& into) {
  for (int64_t row = 0; row < rows; ++row) {
    const float largest = part.max[row] > into.max[row] ? part.max[row] : into.max[row];
    const float old_factor = exp_of_one(into.max[row] - largest);
    const float new_factor = exp_of_one(part.max[row] - largest);
    into.max[row] = largest;
    into.sum[row] = into.sum[row] * old_factor + part.sum[row] * new_factor;
    float* values = into.values + row * head_dim;
    const float* added = part.values + row * head_dim;
    for (int64_t d = 0; d < head_dim; d += kWidth) {
      const F old = Lanes::mul(Lanes::load(values + d), Lanes::set(old_factor));
      Lanes::store(values + d, Lanes::fma(Lanes::load(added + d), Lanes::set(new_factor), old));
    }
  }
}

// Adding 0 makes one zero of the two that exist: which one it was may depend on the chunks.
void finish(const SoftmaxSum& sum, int64_t first_row, int64_t rows, int64_t head_dim, float* out) {
  for (int64_t row = 0; row < rows; ++row) {
    const F factor = Lanes::set(1.0f / sum.sum[first_row + row]);
    const float* values = sum.values + (first_row + row) * head_dim;
    for (int64_t d = 0; d < head_dim; d += kWidth) {
      const F mean = Lanes::fma(Lanes::load(values + d), factor, Lanes::set(0.0f));
      Lanes::store(out + row * head_dim + d, mean);
    }
  }
}

}  // namespace
}  // namespace lfm
