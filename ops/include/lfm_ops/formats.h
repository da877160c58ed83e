/* The formats of weights: one table, the same as `lfm_ops/formats.py`.
 *
 * A format says how many bits a weight has, how many neighbours along the input axis share a
 * float16 scale (0: floats without scales), what a tile of the packed layout takes in bytes, scales
 * included, and what a matrix product makes of its inputs.
 */
#ifndef LFM_OPS_FORMATS_H_
#define LFM_OPS_FORMATS_H_

#include <stdint.h>
#include <string.h>

typedef enum LfmOpsFormatId {
  LFM_OPS_F32,
  LFM_OPS_Q8,
  LFM_OPS_Q6,
  LFM_OPS_Q4,
  LFM_OPS_Q4_64,
  LFM_OPS_FORMATS
} LfmOpsFormatId;

typedef enum LfmOpsActivations {
  LFM_OPS_FLOAT32,
  LFM_OPS_INT8, /* rounded, per group of inputs */
  LFM_OPS_ACTIVATIONS
} LfmOpsActivations;

typedef struct LfmOpsFormat {
  LfmOpsFormatId id;
  const char* name;
  int64_t bits;
  int64_t group_size;
  int64_t tile_bytes;
  LfmOpsActivations activations;
} LfmOpsFormat;

#define LFM_OPS_TILE_BYTES_F32 4096
#define LFM_OPS_TILE_BYTES_Q8 1088
#define LFM_OPS_TILE_BYTES_Q6 832
#define LFM_OPS_TILE_BYTES_Q4 576
#define LFM_OPS_TILE_BYTES_Q4_64 1088

/* In the order of their ids. */
static const LfmOpsFormat lfm_ops_formats[LFM_OPS_FORMATS] = {
    {LFM_OPS_F32, "f32", 32, 0, LFM_OPS_TILE_BYTES_F32, LFM_OPS_FLOAT32},
    {LFM_OPS_Q8, "q8", 8, 32, LFM_OPS_TILE_BYTES_Q8, LFM_OPS_INT8},
    {LFM_OPS_Q6, "q6", 6, 32, LFM_OPS_TILE_BYTES_Q6, LFM_OPS_INT8},
    {LFM_OPS_Q4, "q4", 4, 32, LFM_OPS_TILE_BYTES_Q4, LFM_OPS_INT8},
    {LFM_OPS_Q4_64, "q4_64", 4, 64, LFM_OPS_TILE_BYTES_Q4_64, LFM_OPS_INT8},
};

/* Null: there is none of that name. */
static inline const LfmOpsFormat* lfm_ops_format_named(const char* name) {
  for (int i = 0; i < LFM_OPS_FORMATS; ++i) {
    if (strcmp(lfm_ops_formats[i].name, name) == 0) return &lfm_ops_formats[i];
  }
  return 0;
}

/* Whether a matrix of so many columns can be stored: whole groups, or any number. */
static inline int lfm_ops_takes_columns(const LfmOpsFormat* format, int64_t columns) {
  return columns > 0 && (format->group_size == 0 || columns % format->group_size == 0);
}

#endif /* LFM_OPS_FORMATS_H_ */
