// The stateful kernels of every instruction set against plain loops in double precision, and
// against themselves in other chunks.
#include <algorithm>

#include "check.h"
#include "stateful.h"
#include "truth.h"

using lfm::AttentionTile;
using lfm::CacheHead;
using lfm::CacheType;
using lfm::SoftmaxSum;
using lfm::StatefulKernels;
using truth::Random;

namespace {

using Floats = std::vector<float>;

Floats gaussian(Random& random, int64_t count) {
  std::normal_distribution<float> normal;
  Floats x(static_cast<size_t>(count));
  for (float& value : x) value = normal(random);
  return x;
}

struct Cache {
  Cache(CacheType kind, int64_t positions, int64_t dim)
      : type(kind), head_dim(dim), bytes(positions * dim * 4), scales(positions) {}
  CacheHead head() { return {bytes.data(), scales.data()}; }
  int64_t slots() const { return static_cast<int64_t>(scales.size()); }

  double at(int64_t position, int64_t d) const {
    const int64_t i = position * head_dim + d;
    if (type == CacheType::kFloat) return reinterpret_cast<const float*>(bytes.data())[i];
    if (type == CacheType::kInt8) return bytes[i] * static_cast<double>(scales[position]);
    return lfm::half_to_float(reinterpret_cast<const uint16_t*>(bytes.data())[i]);
  }

  CacheType type;
  int64_t head_dim;
  std::vector<int8_t> bytes;
  Floats scales;
};

struct Case {
  CacheType type;
  int64_t tokens, past, head_dim, group, window;
  int64_t slots;  // that do as well as one for each position; 0: none do
};

const Case kCases[] = {
    {CacheType::kFloat, 1, 0, 16, 1, 0, 0},       {CacheType::kFloat16, 1, 1500, 64, 4, 0, 0},
    {CacheType::kInt8, 13, 1020, 64, 4, 0, 0},    {CacheType::kFloat, 9, 70, 48, 3, 20, 64},
    {CacheType::kFloat16, 5, 130, 128, 7, 1, 64}, {CacheType::kInt8, 16, 2100, 32, 2, 1100, 1152},
    {CacheType::kFloat16, 9, 250, 16, 3, 56, 64}, {CacheType::kInt8, 1, 191, 16, 1, 64, 64},
};

/// The attention of some of the tokens, as the op calls the kernels.
Floats attend(const StatefulKernels& kernels, const Case& c, const Floats& query, Cache& key,
              Cache& value, int64_t first, int64_t tokens) {
  AttentionTile tile{};
  tile.slots = key.slots();
  tile.query = query.data() + first * c.group * c.head_dim;
  tile.rows = tokens * c.group;
  tile.group = c.group;
  tile.position = c.past + first;
  tile.window = c.window;
  tile.head_dim = c.head_dim;
  tile.type = c.type;
  tile.key = key.head();
  tile.value = value.head();
  const size_t floats = SoftmaxSum::floats(tile.rows, c.head_dim);
  Floats totals(floats), parts(floats), scratch(lfm::attend_scratch(tile.rows, c.head_dim));
  const SoftmaxSum total = SoftmaxSum::at(totals.data(), tile.rows);
  const SoftmaxSum part = SoftmaxSum::at(parts.data(), tile.rows);
  kernels.clear(total, tile.rows, c.head_dim);
  for (int64_t span = tile.first_span(); span < tile.end_span(); ++span) {
    kernels.attend(tile, span, scratch.data(), part);
    kernels.merge(part, tile.rows, c.head_dim, total);
  }
  Floats out(static_cast<size_t>(tile.rows * c.head_dim));
  kernels.finish(total, 0, tile.rows, c.head_dim, out.data());
  return out;
}

/// The mean of the values that a query sees, in double precision.
std::vector<double> plain(const Case& c, const float* query, const Cache& key, const Cache& value,
                          int64_t position) {
  const int64_t first = c.window > 0 && position >= c.window ? position - c.window + 1 : 0;
  std::vector<double> out(static_cast<size_t>(c.head_dim));
  double sum = 0;
  for (int64_t p = first; p <= position; ++p) {
    double score = 0;
    for (int64_t d = 0; d < c.head_dim; ++d) score += query[d] * key.at(p, d);
    const double weight = std::exp(score);
    sum += weight;
    for (int64_t d = 0; d < c.head_dim; ++d) out[d] += weight * value.at(p, d);
  }
  for (double& x : out) x /= sum;
  return out;
}

/// A key and a value for each position, written in order; nothing but NaN before.
std::pair<Cache, Cache> filled(const StatefulKernels& kernels, const Case& c, int64_t slots) {
  Random random(8);
  Cache key(c.type, slots, c.head_dim), value(c.type, slots, c.head_dim);
  for (Cache* cache : {&key, &value}) {
    std::fill(cache->bytes.begin(), cache->bytes.end(), int8_t{-1});
    std::fill(cache->scales.begin(), cache->scales.end(), std::nanf(""));
  }
  for (int64_t p = 0; p < c.past + c.tokens; ++p) {
    for (Cache* cache : {&key, &value}) {
      const Floats row = gaussian(random, c.head_dim);
      kernels.append(row.data(), c.head_dim, c.type, cache->head(), p % slots);
    }
  }
  return {key, value};
}

void check_attention(const StatefulKernels& kernels, const Case& c, const char* isa) {
  Random random(7);
  Floats query = gaussian(random, c.tokens * c.group * c.head_dim);
  for (float& x : query) x /= std::sqrt(static_cast<float>(c.head_dim));
  auto [key, value] = filled(kernels, c, c.past + c.tokens);
  const Floats whole = attend(kernels, c, query, key, value, 0, c.tokens);
  double worst = 0;
  for (int64_t row = 0; row < c.tokens * c.group; ++row) {
    const auto want = plain(c, query.data() + row * c.head_dim, key, value, c.past + row / c.group);
    for (int64_t d = 0; d < c.head_dim; ++d) {
      worst = std::fmax(worst, std::fabs(whole[row * c.head_dim + d] - want[d]));
    }
  }
  CHECK(worst <= 2e-6, "%s, past %d: %g", isa, static_cast<int>(c.past), worst);
  if (c.slots > 0) {
    auto [kept_key, kept_value] = filled(kernels, c, c.slots);
    const Floats kept = attend(kernels, c, query, kept_key, kept_value, 0, c.tokens);
    CHECK(std::memcmp(kept.data(), whole.data(), kept.size() * sizeof(float)) == 0, "%s: %d slots",
          isa, static_cast<int>(c.slots));
  }
  for (int64_t step : {1, 3}) {
    for (int64_t first = 0; first < c.tokens; first += step) {
      const int64_t tokens = std::min(step, c.tokens - first);
      const Floats part = attend(kernels, c, query, key, value, first, tokens);
      const float* same = whole.data() + first * c.group * c.head_dim;
      CHECK(std::memcmp(part.data(), same, part.size() * sizeof(float)) == 0, "%s: chunks", isa);
    }
  }
}

}  // namespace

TEST(attention) {
  for (const lfm::Isa isa : truth::instruction_sets()) {
    for (const Case& c : kCases) check_attention(lfm::stateful_kernels_for(isa), c, isa_name(isa));
  }
}

TEST(append_rounds_to_the_nearest) {
  Random random(3);
  Floats x = gaussian(random, 64);
  const float extremes[] = {0.0f, -0.0f, 1e-9f, 6e-8f, 3e-5f, 65504.0f, -1e6f, 1.0f + 0x1p-11f};
  std::copy(std::begin(extremes), std::end(extremes), x.begin());
  Cache scalar(CacheType::kFloat16, 1, 64);
  lfm::stateful_kernels_for(lfm::Isa::kScalar).append(x.data(), 64, scalar.type, scalar.head(), 0);
  CHECK(std::fabs(scalar.at(0, 4) / 3e-5 - 1) < 1e-3, "subnormal");
  for (const lfm::Isa isa : truth::instruction_sets()) {
    Cache half(CacheType::kFloat16, 1, 64), integers(CacheType::kInt8, 1, 64);
    lfm::stateful_kernels_for(isa).append(x.data(), 64, half.type, half.head(), 0);
    CHECK(half.bytes == scalar.bytes, "%s: float16", isa_name(isa));
    lfm::stateful_kernels_for(isa).append(x.data(), 64, integers.type, integers.head(), 0);
    for (int64_t d = 0; d < 64; ++d) {
      CHECK(std::fabs(integers.at(0, d) - x[d]) <= 0.501 * integers.scales[0], "%s: int8",
            isa_name(isa));
    }
  }
}

TEST(norm_rope) {
  Random random(5);
  for (const int64_t dim : {16, 64, 128}) {
    const Floats in = gaussian(random, dim), weight = gaussian(random, dim);
    const int64_t half = dim / 4;
    const Floats cos = gaussian(random, half), sin = gaussian(random, half);
    double squares = 0;
    for (const float x : in) squares += static_cast<double>(x) * x;
    std::vector<double> want(static_cast<size_t>(dim));
    const double factor = 0.125 / std::sqrt(squares / static_cast<double>(dim) + 1e-5);
    for (int64_t d = 0; d < dim; ++d) want[d] = factor * in[d] * weight[d];
    for (int64_t i = 0; i < half; ++i) {
      const double first = want[i], second = want[i + half];
      want[i] = first * cos[i] - second * sin[i];
      want[i + half] = second * cos[i] + first * sin[i];
    }
    const lfm::NormRope how{weight.data(), 1e-5f, cos.data(), sin.data(), half, dim, 0.125f};
    for (const lfm::Isa isa : truth::instruction_sets()) {
      Floats out(static_cast<size_t>(dim));
      lfm::stateful_kernels_for(isa).norm_rope(how, in.data(), out.data());
      for (int64_t d = 0; d < dim; ++d) {
        CHECK(std::fabs(out[d] - want[d]) <= 1e-6, "%s: %g", isa_name(isa), out[d] - want[d]);
      }
    }
  }
}

TEST(add_norm) {
  Random random(6);
  for (const int64_t size : {16, 96, 2048, 1, 5, 33, 90}) {
    const Floats x = gaussian(random, size), branch = gaussian(random, size);
    const Floats weight = gaussian(random, size);
    for (const bool added : {true, false}) {
      Floats want(static_cast<size_t>(size));
      double squares = 0;
      for (int64_t i = 0; i < size; ++i) {
        want[i] = added ? x[i] + branch[i] : x[i];
        squares += static_cast<double>(want[i]) * want[i];
      }
      const double factor = 1 / std::sqrt(squares / static_cast<double>(size) + 1e-5);
      for (const lfm::Isa isa : truth::instruction_sets()) {
        Floats sum(static_cast<size_t>(size)), out = sum;
        lfm::stateful_kernels_for(isa).add_norm({weight.data(), 1e-5f, size}, x.data(),
                                                added ? branch.data() : nullptr,
                                                added ? sum.data() : nullptr, out.data());
        CHECK(!added || sum == want, "%s: sum", isa_name(isa));
        for (int64_t i = 0; i < size; ++i) {
          const double norm = factor * want[i] * weight[i];
          CHECK(std::fabs(out[i] - norm) <= 3e-6 * (1 + std::fabs(norm)), "%s: %g", isa_name(isa),
                out[i] - norm);
        }
      }
    }
  }
}

/// `part` halves of all columns are kept.
void check_short_conv(int64_t tokens, int64_t kernel, int64_t part) {
  Random random(9);
  const int64_t hidden = 40, state = kernel - 1;
  const Floats projected = gaussian(random, tokens * 3 * hidden), bias = gaussian(random, hidden);
  const Floats taps = gaussian(random, hidden * kernel), past = gaussian(random, hidden * state);
  const auto input = [&](int64_t token, int64_t c) {
    if (token < 0) return past[c * state + state + token];
    const float* row = projected.data() + token * 3 * hidden + c;
    return row[0] * row[2 * hidden];
  };
  for (const lfm::Isa isa : truth::instruction_sets()) {
    Floats out(static_cast<size_t>(tokens * hidden)), present = past;
    const int64_t kept = (tokens + state) * part / 2;
    Floats columns(static_cast<size_t>(hidden * kept));
    const lfm::ShortConv conv{projected.data(), taps.data(),    bias.data(), present.data(),
                              present.data(),   columns.data(), out.data(),  tokens,
                              hidden,           kernel,         kept};
    lfm::stateful_kernels_for(isa).short_conv(conv, 0, 24);
    lfm::stateful_kernels_for(isa).short_conv(conv, 24, hidden);
    for (int64_t c = 0; c < hidden; ++c) {
      for (int64_t t = 0; t < tokens; ++t) {
        float sum = 0;
        for (int64_t k = 0; k < kernel; ++k) sum += input(t - state + k, c) * taps[c * kernel + k];
        const float want = projected[(t * 3 + 1) * hidden + c] * (sum + bias[c]);
        CHECK(out[t * hidden + c] == want, "%s: token %d", isa_name(isa), static_cast<int>(t));
      }
      for (int64_t k = 0; k < state; ++k) {
        CHECK(present[c * state + k] == input(tokens - state + k, c), "%s: state", isa_name(isa));
      }
      for (int64_t k = 0; k < kept; ++k) {
        CHECK(columns[c * kept + k] == input(tokens - kept + k, c), "%s: columns", isa_name(isa));
      }
    }
  }
}

TEST(short_conv) {
  for (const int64_t kernel : {2, 3, 4, 7}) {
    for (const int64_t tokens : {0, 1, 2, 11}) {
      for (const int64_t part : {0, 1, 2}) check_short_conv(tokens, kernel, part);
    }
  }
}
