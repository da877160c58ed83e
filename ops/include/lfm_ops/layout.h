/* The packed weight layout: how a matrix [rows, columns] lies in a file and is read from it.
 *
 * Rows (outputs) are taken in blocks of 32, columns (inputs) in groups of 32; a block and a group
 * meet in a tile. Tiles follow one another group by group within a block, then block by block.
 * Missing rows of the last block are zeros with scale zero. A tile is, by bits of a weight:
 *
 *    4  8 lines of 64 bytes: in line s, byte 4r + j holds rows r (low nibble) and 16 + r (high
 *       nibble) of input 4s + j, as value + 8; then 32 float16 scales.
 *    8  16 lines of 64 bytes: in line 2s + h, byte 4r + j holds row 16h + r of input 4s + j,
 *       signed; then 32 float16 scales.
 *   32  32 lines of 32 floats: in line i, float r holds row r of input i. No scales.
 *
 * Gate and up of a SwiGLU form one matrix whose blocks alternate, gate first, so that a pair of
 * blocks gives one whole group of the inner activations. Everything is little-endian.
 */
#ifndef LFM_OPS_LAYOUT_H_
#define LFM_OPS_LAYOUT_H_

#include <stdint.h>

#define LFM_OPS_LAYOUT_VERSION 1

#define LFM_OPS_BLOCK_ROWS 32 /* rows of a tile */
#define LFM_OPS_BLOCK_SIZE 32 /* columns of a tile: the weights that share a scale */
#define LFM_OPS_LINE_BYTES 64
#define LFM_OPS_SCALES_BYTES 64 /* 32 float16 at the end of a tile of 4 or 8 bits */

#define LFM_OPS_TILE_BYTES_Q4 576
#define LFM_OPS_TILE_BYTES_Q8 1088
#define LFM_OPS_TILE_BYTES_F32 4096

/* Whether weights of these attributes can be read. */
static inline int lfm_ops_layout_supported(int64_t bits, int64_t block_size) {
  return (bits == 4 || bits == 8 || bits == 32) && block_size == LFM_OPS_BLOCK_SIZE;
}

/* Bytes of a tile; 0 for bits that there are none of. */
static inline int64_t lfm_ops_tile_bytes(int64_t bits) {
  return bits == 4    ? LFM_OPS_TILE_BYTES_Q4
         : bits == 8  ? LFM_OPS_TILE_BYTES_Q8
         : bits == 32 ? LFM_OPS_TILE_BYTES_F32
                      : 0;
}

static inline int64_t lfm_ops_row_blocks(int64_t rows) {
  return (rows + LFM_OPS_BLOCK_ROWS - 1) / LFM_OPS_BLOCK_ROWS;
}

/* Bytes of one block of rows. */
static inline int64_t lfm_ops_block_bytes(int64_t bits, int64_t columns) {
  return columns / LFM_OPS_BLOCK_SIZE * lfm_ops_tile_bytes(bits);
}

/* Bytes of a packed matrix whose columns are a multiple of the block size. */
static inline int64_t lfm_ops_packed_bytes(int64_t bits, int64_t rows, int64_t columns) {
  return lfm_ops_row_blocks(rows) * lfm_ops_block_bytes(bits, columns);
}

#endif /* LFM_OPS_LAYOUT_H_ */
