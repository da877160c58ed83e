// What happens to activations between matrix products: the bits of plain C++, and near the truth.
#include "check.h"
#include "truth.h"

using namespace lfm;

namespace {

const float kExtremes[] = {0.0f,   -0.0f,   1e30f, -1e30f, 1e-36f, -1e-42f, 88.0f, -88.0f,
                           103.9f, -104.0f, 1.0f,  -1.0f,  500.0f, -500.0f, 1e-7f, 16.0f};

std::vector<float> with_extremes(truth::Random& random, size_t count) {
  std::vector<float> x = truth::normal_values(random, count, 8);
  for (size_t i = 0; i < count; i += 7) x[i] = kExtremes[random() % 16];
  return x;
}

}  // namespace

TEST(rounding_to_int8) {
  truth::Random random(1);
  const int64_t columns = 96, tokens = 50;
  std::vector<float> x = with_extremes(random, 50 * 96);
  for (size_t i = 0; i < 32; ++i) x[i] = 0;
  for (Isa isa : truth::instruction_sets()) {
    truth::RowsMemory memory(truth::kQ8, tokens, columns);
    kernels_for(isa)
        .activations(truth::kQ8)
        .prepare(x.data(), columns, columns, 0, 20, memory.rows);
    kernels_for(isa)
        .activations(truth::kQ8)
        .prepare(x.data() + 20 * columns, columns, columns, 20, 30, memory.rows);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t g = 0; g < columns / 32; ++g) {
        const truth::Group expected = truth::round_group(x.data() + t * columns + g * 32);
        int sum = 0;
        bool same = memory.rows.scales[g * tokens + t] == expected.scale;
        for (int i = 0; i < 32; ++i) {
          same &= memory.rows.int8_at(g, t)[i] == expected.integers[i];
          sum += expected.integers[i];
        }
        same &= memory.rows.offsets[g * tokens + t] == -8 * sum;
        CHECK(same, "%s, token %ld", isa_name(isa), long(t));
      }
    }
  }
}

TEST(swiglu_is_accurate) {
  truth::Random random(2);
  const std::vector<float> gate = with_extremes(random, 100 * 32);
  const std::vector<float> up = truth::normal_values(random, 100 * 32);
  for (Isa isa : truth::instruction_sets()) {
    truth::RowsMemory memory(truth::kF32, 100, 32);
    kernels_for(isa)
        .activations(truth::kF32)
        .swiglu(gate.data(), up.data(), 0, 0, 100, memory.rows);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i];
      const double expected = g / (1 + std::exp(-g)) * up[i];
      const double error = std::fabs(memory.rows.float_at(0, 0)[i] - expected);
      CHECK(error <= 1e-6 * std::fabs(expected) + 1e-37, "%s, gate %g", isa_name(isa), g);
    }
  }
}

TEST(swiglu_gives_the_same_bits) {
  truth::Random random(3);
  const std::vector<float> gate = with_extremes(random, 45 * 32);
  const std::vector<float> up = truth::normal_values(random, 45 * 32);
  for (const Format& format : {truth::kQ8, truth::kF32}) {
    truth::RowsMemory expected(format, 90, 64);
    kernels_for(Isa::kScalar)
        .activations(format)
        .swiglu(gate.data(), up.data(), 1, 30, 45, expected.rows);
    for (Isa isa : truth::instruction_sets()) {
      truth::RowsMemory got(format, 90, 64);
      Swiglu& swiglu = *kernels_for(isa).activations(format).swiglu;
      swiglu(gate.data(), up.data(), 1, 30, 5, got.rows);
      swiglu(gate.data() + 5 * 32, up.data() + 5 * 32, 1, 35, 40, got.rows);
      const size_t value = format.activations == LFM_OPS_FLOAT32 ? 4 : 1;
      CHECK(std::memcmp(got.rows.values, expected.rows.values, 90 * 64 * value) == 0, "%s, %s",
            isa_name(isa), format.name);
      CHECK(std::memcmp(got.rows.scales, expected.rows.scales, 90 * 2 * 4) == 0, "%s",
            isa_name(isa));
      CHECK(std::memcmp(got.rows.offsets, expected.rows.offsets, 90 * 2 * 4) == 0, "%s",
            isa_name(isa));
    }
  }
}

TEST(dots_give_the_same_bits) {
  truth::Random random(4);
  for (size_t columns : {32, 64, 2048, 1, 31, 33, 90}) {
    const std::vector<float> x = truth::normal_values(random, columns);
    const std::vector<float> w = truth::normal_values(random, 5 * columns);
    std::vector<float> expected(5);
    kernels_for(Isa::kScalar)
        .vectors.dots(x.data(), w.data(), 5, int64_t(columns), expected.data());
    for (size_t r = 0; r < 5; ++r) {
      double exact = 0;
      for (size_t i = 0; i < columns; ++i) exact += double{x[i]} * w[r * columns + i];
      CHECK(std::fabs(exact - expected[r]) <= 1e-6 + 2e-7 * static_cast<double>(columns), "%zu",
            columns);
    }
    for (Isa isa : truth::instruction_sets()) {
      std::vector<float> got(5);
      kernels_for(isa).vectors.dots(x.data(), w.data(), 5, int64_t(columns), got.data());
      CHECK(truth::same_bits(got, expected), "%s, %zu columns", isa_name(isa), columns);
    }
  }
}

TEST(add_scaled_adds) {
  truth::Random random(5);
  const std::vector<float> in = truth::normal_values(random, 32);
  const std::vector<float> start = truth::normal_values(random, 32);
  std::vector<float> expected = start;
  for (size_t i = 0; i < 32; ++i) expected[i] = std::fma(0.3f, in[i], start[i]);
  for (Isa isa : truth::instruction_sets()) {
    std::vector<float> got = start;
    kernels_for(isa).vectors.add_scaled(in.data(), 0.3f, got.data());
    CHECK(truth::same_bits(got, expected), "%s", isa_name(isa));
  }
}

TEST(half_precision_is_exact) {
  CHECK(half_to_float(0x3c00) == 1.0f);
  CHECK(half_to_float(0xc000) == -2.0f);
  CHECK(half_to_float(0x7bff) == 65504.0f);
  CHECK(half_to_float(0x0001) == 0x1p-24f);
  CHECK(half_to_float(0x83ff) == -1023 * 0x1p-24f);
  CHECK(half_to_float(0x0400) == 0x1p-14f);
  CHECK(std::isinf(half_to_float(0x7c00)) && std::isnan(half_to_float(0x7e00)));
}

TEST(nan_is_not_lost) {
  std::vector<float> x(32, 1.0f);
  x[5] = std::nanf("");
  for (Isa isa : truth::instruction_sets()) {
    truth::RowsMemory memory(truth::kQ8, 1, 32);
    kernels_for(isa).activations(truth::kQ8).prepare(x.data(), 32, 32, 0, 1, memory.rows);
    CHECK(std::isnan(memory.rows.scales[0]), "%s", isa_name(isa));
  }
}

TEST(isa_can_be_forced) {
  std::string error;
  setenv("LFM_OPS_ISA", "scalar", 1);
  CHECK(choose_isa(error) == Isa::kScalar && error.empty());
  setenv("LFM_OPS_ISA", "sse9", 1);
  choose_isa(error);
  CHECK(error.find("sse9") != std::string::npos);
  unsetenv("LFM_OPS_ISA");
  error.clear();
  CHECK(choose_isa(error) == best_isa() && error.empty());
}
