// Every matrix kernel gives the bits of the plain loops.
#include "check.h"
#include "truth.h"

using namespace lfm;

#ifdef LFM_OPS_EMULATED_VNNI
namespace lfm {
extern Matmul matmul_q4_emulated, matmul_q4_64_emulated, matmul_q6_emulated, matmul_q8_emulated;
}
#endif

namespace {

/// The tables of this CPU, and that of AVX-VNNI without its instruction.
std::vector<Kernels> tables() {
  std::vector<Kernels> all;
  for (Isa isa : truth::instruction_sets()) all.push_back(kernels_for(isa));
#ifdef LFM_OPS_EMULATED_VNNI
  if (isa_available(Isa::kAvx2)) {
    const Kernels& avx2 = kernels_for(Isa::kAvx2);
    all.push_back({Isa::kAvxVnni,
                   {avx2.matmuls[0], matmul_q8_emulated, matmul_q6_emulated, matmul_q4_emulated,
                    matmul_q4_64_emulated},
                   avx2.vectors,
                   0,
                   0});
  }
#endif
  return all;
}

std::vector<float> multiply(const Kernels& kernels, const std::vector<uint8_t>& block,
                            const Format& format, int64_t groups, const Rows& x, int64_t first,
                            int64_t tokens, ptrdiff_t stride, ptrdiff_t prefetch) {
  std::vector<float> out(static_cast<size_t>((tokens - 1) * stride + kBlockRows), -7.0f);
  kernels.matmul(format)(block.data(), x, groups, first, tokens, out.data(), stride, prefetch);
  return out;
}

void check_block(const Format& format, int64_t rows, int64_t groups, int64_t tokens,
                 const std::vector<float>& x, truth::Random& random) {
  const truth::Weights w = truth::random_weights(random, format, rows, 32 * groups);
  const std::vector<uint8_t> packed = truth::pack(w);
  const std::vector<float> expected = truth::linear(w, x);
  for (const Kernels& kernels : tables()) {
    truth::RowsMemory memory(format, tokens, w.columns);
    kernels.activations(format).prepare(x.data(), w.columns, w.columns, 0, tokens, memory.rows);
    const int64_t first = tokens / 3;
    const ptrdiff_t stride = tokens % 2 == 0 ? 32 : 47;
    const std::vector<float> got = multiply(kernels, packed, format, groups, memory.rows, first,
                                            tokens - first, stride, tokens % 5 == 0 ? 1152 : 0);
    bool same = true;
    for (int64_t t = first; t < tokens; ++t) {
      const float* got_row = got.data() + (t - first) * stride;
      same &= std::memcmp(got_row, expected.data() + t * rows,
                          static_cast<size_t>(rows) * sizeof(float)) == 0;
      for (int64_t r = rows; r < 32; ++r) same &= got_row[r] == 0;
      for (int64_t r = 32; r < stride && t + 1 < tokens; ++r) same &= got_row[r] == -7.0f;
    }
    CHECK(same, "%s, %s, %ld rows, %ld groups, %ld tokens", isa_name(kernels.isa), format.name,
          long(rows), long(groups), long(tokens));
  }
}

}  // namespace

TEST(blocks_of_random_shapes) {
  truth::Random random(1);
  for (const Format& format : lfm_ops_formats) {
    for (int64_t tokens :
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 31, 64, 127, 128, 129, 200}) {
      const int64_t in_tile = lfm_ops_tile_columns(&format) / 32;
      const int64_t groups = (1 + static_cast<int64_t>(random() % 20)) * in_tile;
      const int64_t rows = tokens % 3 == 0 ? 1 + static_cast<int64_t>(random() % 31) : 32;
      const size_t count = static_cast<size_t>(tokens * groups * 32);
      check_block(format, rows, groups, tokens, truth::normal_values(random, count), random);
    }
  }
}

TEST(seven_hundred_tokens) {
  truth::Random random(2);
  for (const Format& format : lfm_ops_formats) {
    check_block(format, 32, 2, 700, truth::normal_values(random, 700 * 64), random);
  }
}

TEST(long_rows) {
  truth::Random random(3);
  for (const Format& format : lfm_ops_formats) {
    check_block(format, 32, 224, 3, truth::normal_values(random, 3 * 224 * 32), random);
  }
}

TEST(extreme_activations) {
  truth::Random random(4);
  const float values[] = {0.0f,   -0.0f,   1e30f,  -1e30f, 1e-30f, 1e-36f,
                          1e-38f, -1e-42f, 1e-45f, 127.0f, 1.0f,   0x1p-90f};
  for (const Format& format : lfm_ops_formats) {
    std::vector<float> x = truth::normal_values(random, 20 * 128);
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t group = i / 32;
      // Whole groups of one size, among others groups of all.
      if (group % 3 == 0) x[i] *= values[group / 3 % 12];
      if (group % 3 == 1) x[i] = values[random() % 12];
    }
    check_block(format, 32, 4, 20, x, random);
  }
}

TEST(extreme_weights) {
  truth::Random random(5);
  for (const Format& format : {truth::kQ4, truth::kQ4In64, truth::kQ6, truth::kQ8}) {
    for (int sign : {-1, 1}) {
      const int half = 1 << (format.bits - 1), most = sign < 0 ? -half : half - 1;
      truth::Weights w = truth::random_weights(random, format, 32, 64);
      for (int8_t& value : w.integers) value = static_cast<int8_t>(most);
      w.scales[0] = 0x7bff;  // the largest float16, a subnormal and zero
      w.scales[1] = 0x0001;
      w.scales[2] = 0;
      std::vector<float> x(10 * 64, 1.0f);  // all 127 once rounded
      for (size_t i = 0; i < x.size(); i += 3) x[i] = i % 2 == 0 ? 1.0f : -1.0f;
      for (size_t i = 0; i < 128; ++i) x[i] = i < 64 ? 1.0f : -1.0f;
      const std::vector<uint8_t> packed = truth::pack(w);
      const std::vector<float> expected = truth::linear(w, x);
      for (const Kernels& kernels : tables()) {
        truth::RowsMemory memory(format, 10, 64);
        kernels.activations(format).prepare(x.data(), 64, 64, 0, 10, memory.rows);
        for (int64_t tokens : {1, 10}) {
          std::vector<float> got =
              multiply(kernels, packed, format, 2, memory.rows, 0, tokens, 32, 0);
          std::vector<float> part(expected.begin(), expected.begin() + tokens * 32);
          CHECK(truth::same_bits(got, part), "%s, %s, %d", isa_name(kernels.isa), format.name,
                most);
        }
      }
    }
  }
}

TEST(tiny_activations_and_scales) {
  truth::Random random(7);
  for (const Format& format : {truth::kQ4, truth::kQ4In64, truth::kQ6, truth::kQ8}) {
    for (int exponent : {-60, -85, -88, -90, -92, -100, -118, -126, -140}) {
      truth::Weights w = truth::random_weights(random, format, 32, 64);
      for (uint16_t& scale : w.scales) scale = static_cast<uint16_t>(1 + random() % 4);
      const std::vector<float> x = truth::normal_values(random, 5 * 64, std::ldexp(1.0f, exponent));
      const std::vector<uint8_t> packed = truth::pack(w);
      const std::vector<float> expected = truth::linear(w, x);
      for (const Kernels& kernels : tables()) {
        truth::RowsMemory memory(format, 5, 64);
        kernels.activations(format).prepare(x.data(), 64, 64, 0, 5, memory.rows);
        for (int64_t tokens : {1, 5}) {
          const std::vector<float> got =
              multiply(kernels, packed, format, 2, memory.rows, 0, tokens, 32, 0);
          const std::vector<float> part(expected.begin(), expected.begin() + tokens * 32);
          CHECK(truth::same_bits(got, part), "%s, %s, 2^%d, %ld tokens", isa_name(kernels.isa),
                format.name, exponent, long(tokens));
        }
      }
    }
  }
}

// So that the plain loops themselves are not taken on trust.
TEST(the_plain_loops_agree_with_double_precision) {
  truth::Random random(6);
  for (const Format& format : lfm_ops_formats) {
    const truth::Weights w = truth::random_weights(random, format, 40, 2048);
    const std::vector<float> x = truth::normal_values(random, 3 * 2048);
    const std::vector<float> got = truth::linear(w, x);
    std::vector<float> expected;
    for (size_t t = 0; t < 3; ++t) {
      const auto groups = truth::round_row(x.data() + t * 2048, 2048);
      for (int64_t r = 0; r < w.rows; ++r) {
        double sum = 0;
        for (size_t i = 0; i < 2048; ++i) {
          const truth::Group& g = groups[i / 32];
          const double input =
              format.group_size == 0 ? g.floats[i % 32] : double{g.scale} * g.integers[i % 32];
          sum += input * w.at(r, static_cast<int64_t>(i));
        }
        expected.push_back(static_cast<float>(sum));
      }
    }
    const double error = truth::largest_difference(got, expected) / truth::rms(expected);
    CHECK(error <= 1e-5, "%s: %g", format.name, error);
  }
}
