#include "embedding.h"

#include <cstring>

#include "unpack.h"

namespace lfm {

void EmbeddingWork::run(int, int64_t begin, int64_t end, void*) {
  Unpack* unpack = unpack_row(*weight_.format);
  const int64_t columns = lfm_ops_tile_columns(weight_.format);
  for (int64_t i = begin; i < end; ++i) {
    const uint8_t* tile = weight_.block(ids_[i] / kBlockRows);
    const int64_t row = ids_[i] % kBlockRows;
    float* out = out_ + i * weight_.columns;
    int64_t left = weight_.columns;
    for (; left >= columns; left -= columns, out += columns, tile += weight_.format->tile_bytes) {
      unpack(tile, row, out);
    }
    if (left == 0) continue;
    float last[kGroup];  // of floats: integers have whole groups
    unpack(tile, row, last);
    std::memcpy(out, last, static_cast<size_t>(left) * sizeof *out);
  }
}

}  // namespace lfm
