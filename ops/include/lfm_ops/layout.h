/* The packed weight layout: how a matrix [rows, columns] lies in a file and is read from it.
 *
 * Rows (outputs) are taken in blocks of 32, columns (inputs) in groups of as many as share a scale,
 * floats in groups of 32; a block and a group meet in a tile. Tiles follow one another group by
 * group within a block, then block by block.
 * What is missing to whole tiles is zeros, with scale zero. A tile is, by format of the weights:
 *
 *   q4   8 lines of 64 bytes: in line s, byte 4r + j holds rows r (low nibble) and 16 + r (high
 *        nibble) of input 4s + j, as value + 8; then 32 float16 scales.
 *   q4_64  the same of 64 inputs, in 16 lines.
 *   q6   8 lines of the low four bits of value + 32, as q4's; then 4 lines of 64 bytes: in line l,
 *        byte 4r + j holds the two high bits of rows r (bits 0 and 1) and 16 + r (bits 2 and 3) of
 *        input 8l + j, and (bits 4 to 7) of the same rows of input 8l + 4 + j; then 32 float16
 *        scales.
 *   q8   16 lines of 64 bytes: in line 2s + h, byte 4r + j holds row 16h + r of input 4s + j,
 *        signed; then 32 float16 scales.
 *   f32  32 lines of 32 floats: in line i, float r holds row r of input i. No scales.
 *
 * Gate and up of a SwiGLU form one matrix whose blocks alternate, gate first, so that a pair of
 * blocks gives one whole group of the inner activations. Everything is little-endian.
 */
#ifndef LFM_OPS_LAYOUT_H_
#define LFM_OPS_LAYOUT_H_

#include <stdint.h>

#include "lfm_ops/formats.h"

#define LFM_OPS_LAYOUT_VERSION 1

#define LFM_OPS_BLOCK_ROWS 32    /* rows of a tile */
#define LFM_OPS_BLOCK_COLUMNS 32 /* columns of a tile at least, and of a group of activations */
#define LFM_OPS_LINE_BYTES 64
#define LFM_OPS_SCALES_BYTES 64 /* 32 float16 at the end of a tile that has scales */

static inline int64_t lfm_ops_row_blocks(int64_t rows) {
  return (rows + LFM_OPS_BLOCK_ROWS - 1) / LFM_OPS_BLOCK_ROWS;
}

/* Groups of activations. */
static inline int64_t lfm_ops_column_groups(int64_t columns) {
  return (columns + LFM_OPS_BLOCK_COLUMNS - 1) / LFM_OPS_BLOCK_COLUMNS;
}

/* Rows of a matrix of gate and up, each of `rows` rows: whole blocks of either. */
static inline int64_t lfm_ops_gate_up_rows(int64_t rows) {
  return 2 * lfm_ops_row_blocks(rows) * LFM_OPS_BLOCK_ROWS;
}

/* Columns of a tile. */
static inline int64_t lfm_ops_tile_columns(const LfmOpsFormat* format) {
  return format->group_size > LFM_OPS_BLOCK_COLUMNS ? format->group_size : LFM_OPS_BLOCK_COLUMNS;
}

/* Bytes of one block of rows. */
static inline int64_t lfm_ops_block_bytes(const LfmOpsFormat* format, int64_t columns) {
  const int64_t tile = lfm_ops_tile_columns(format);
  return (columns + tile - 1) / tile * format->tile_bytes;
}

/* Bytes of a packed matrix. */
static inline int64_t lfm_ops_packed_bytes(const LfmOpsFormat* format, int64_t rows,
                                           int64_t columns) {
  return lfm_ops_row_blocks(rows) * lfm_ops_block_bytes(format, columns);
}

#endif /* LFM_OPS_LAYOUT_H_ */
