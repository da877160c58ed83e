// Whole ops against plain loops, and the same bits however they are cut.
#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

#include "check.h"
#include "embedding.h"
#include "gated_mlp.h"
#include "linear.h"
#include "sparse_moe.h"
#include "truth.h"

using namespace lfm;

namespace {

/// Memory aligned as a Work wants it.
class Aligned {
 public:
  explicit Aligned(int64_t bytes) : memory_(static_cast<size_t>(bytes) + 64) {}
  void* get() {
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory_.data()) + 63) / 64 * 64);
  }

 private:
  std::vector<char> memory_;
};

/// Memory for what a work lays out.
Aligned laid_out(Work& work) {
  Workspace counted;
  work.lay_out(counted);
  Aligned memory(counted.bytes());
  Workspace space(memory.get());
  work.lay_out(space);
  return memory;
}

/// Runs all tasks in ranges of `chunk`, last range first.
void run(Work& work, int64_t chunk) {
  const Aligned memory = laid_out(work);
  Aligned scratch(work.scratch_bytes());
  for (int phase = 0; phase < work.phases(); ++phase) {
    const int64_t tasks = work.tasks(phase);
    for (int64_t begin = (tasks - 1) / chunk * chunk; begin >= 0; begin -= chunk) {
      work.run(phase, begin, std::min(begin + chunk, tasks), scratch.get());
    }
  }
}

/// Runs single tasks on several threads, whichever comes first.
void run_on_threads(Work& work, int threads) {
  const Aligned memory = laid_out(work);
  for (int phase = 0; phase < work.phases(); ++phase) {
    std::atomic<int64_t> next{0};
    std::vector<std::thread> team;
    for (int i = 0; i < threads; ++i) {
      team.emplace_back([&] {
        Aligned scratch(work.scratch_bytes());
        for (int64_t task; (task = next++) < work.tasks(phase);) {
          work.run(phase, task, task + 1, scratch.get());
        }
      });
    }
    for (std::thread& thread : team) thread.join();
  }
}

/// Some that the format takes: whole groups, or any number.
int64_t random_columns(truth::Random& random, const Format& format) {
  const int64_t tiles = 1 + static_cast<int64_t>(random() % 4);
  return tiles * lfm_ops_tile_columns(&format) -
         (format.group_size == 0 ? static_cast<int64_t>(random() % 32) : 0);
}

PackedMatrix packed_matrix(const std::vector<uint8_t>& packed, const truth::Weights& w) {
  return {packed.data(), w.format, w.rows, w.columns};
}

std::vector<float> linear(const Kernels& kernels, const truth::Weights& w,
                          const std::vector<uint8_t>& packed, const float* bias,
                          const std::vector<float>& x, int64_t chunk) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.columns;
  std::vector<float> out(static_cast<size_t>(tokens * w.rows));
  LinearWork work(kernels, packed_matrix(packed, w), bias, x.data(), tokens, out.data());
  run(work, chunk);
  return out;
}

std::vector<uint8_t> pack_gate_up(const truth::Weights& gate, const truth::Weights& up) {
  const std::vector<uint8_t> first = truth::pack(gate), second = truth::pack(up);
  const int64_t bytes = lfm_ops_block_bytes(gate.format, gate.columns);
  std::vector<uint8_t> both;
  for (size_t at = 0; at < first.size(); at += static_cast<size_t>(bytes)) {
    both.insert(both.end(), first.begin() + int64_t(at), first.begin() + int64_t(at) + bytes);
    both.insert(both.end(), second.begin() + int64_t(at), second.begin() + int64_t(at) + bytes);
  }
  return both;
}

/// Of the matrices of a feed-forward.
struct Formats {
  const Format* gate_up;
  const Format* down;

  std::string name() const { return std::string(gate_up->name) + " and " + down->name; }
};

const Formats kPairs[] = {
    {&truth::kQ4In64, &truth::kQ4}, {&truth::kQ4, &truth::kQ4In64}, {&truth::kQ4, &truth::kQ4},
    {&truth::kQ8, &truth::kQ8},     {&truth::kF32, &truth::kF32},   {&truth::kQ6, &truth::kQ6},
    {&truth::kQ4, &truth::kQ8},     {&truth::kQ8, &truth::kF32},    {&truth::kF32, &truth::kQ4}};

struct Mlp {
  truth::Weights gate, up, down;

  static Mlp random(truth::Random& random, const Formats& formats, int64_t hidden, int64_t inner) {
    return {truth::random_weights(random, *formats.gate_up, inner, hidden),
            truth::random_weights(random, *formats.gate_up, inner, hidden),
            truth::random_weights(random, *formats.down, hidden, inner)};
  }

  std::vector<float> apply(const std::vector<float>& x) const {
    std::vector<float> g = truth::linear(gate, x), u = truth::linear(up, x);
    const size_t values = g.size();
    g.resize((values + 31) / 32 * 32);
    u.resize(g.size());
    const int64_t groups = int64_t(g.size()) / 32;
    truth::RowsMemory memory(truth::kF32, groups, 32);
    // Its own accuracy is tested elsewhere.
    kernels_for(Isa::kScalar)
        .activations(truth::kF32)
        .swiglu(g.data(), u.data(), 0, 0, groups, memory.rows);
    std::memcpy(g.data(), memory.rows.values, values * sizeof(float));
    g.resize(values);
    return truth::linear(down, g);
  }
};

std::vector<float> row_of(const std::vector<float>& x, int64_t row, int64_t columns) {
  return {x.begin() + row * columns, x.begin() + (row + 1) * columns};
}

}  // namespace

TEST(linear_of_any_shape) {
  truth::Random random(1);
  for (const Format& format : lfm_ops_formats) {
    for (int64_t tokens : {1, 2, 6, 7, 130, 300}) {
      const int64_t rows = 1 + static_cast<int64_t>(random() % 330),
                    columns = random_columns(random, format);
      const truth::Weights w = truth::random_weights(random, format, rows, columns);
      const std::vector<uint8_t> packed = truth::pack(w);
      const auto x = truth::normal_values(random, static_cast<size_t>(tokens * columns));
      const auto bias = truth::normal_values(random, static_cast<size_t>(rows));
      std::vector<float> expected = truth::linear(w, x);
      for (int64_t chunk : {1, 3, 1000}) {
        for (Isa isa : truth::instruction_sets()) {
          const auto got = linear(kernels_for(isa), w, packed, nullptr, x, chunk);
          CHECK(truth::same_bits(got, expected), "%s, %s, %ld tokens, %ld rows", isa_name(isa),
                format.name, long(tokens), long(rows));
        }
      }
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += bias[i % size_t(rows)];
      const auto got = linear(kernels_for(best_isa()), w, packed, bias.data(), x, 2);
      CHECK(truth::same_bits(got, expected), "with bias, %s", format.name);
    }
  }
}

TEST(gated_mlp) {
  truth::Random random(2);
  for (const Formats& formats : kPairs) {
    const int64_t hidden = random_columns(random, *formats.gate_up);
    const int64_t inner = random_columns(random, *formats.down);
    const Mlp mlp = Mlp::random(random, formats, hidden, inner);
    const auto gate_up = pack_gate_up(mlp.gate, mlp.up), down = truth::pack(mlp.down);
    for (int64_t tokens : {1, 5, 140}) {
      const auto x = truth::normal_values(random, static_cast<size_t>(tokens * hidden));
      const auto expected = mlp.apply(x);
      for (Isa isa : truth::instruction_sets()) {
        for (int64_t chunk : {1, 4, 100}) {
          std::vector<float> got(expected.size());
          const PackedMatrix both{gate_up.data(), formats.gate_up, lfm_ops_gate_up_rows(inner),
                                  hidden};
          const PackedMatrix last = packed_matrix(down, mlp.down);
          GatedMlpWork work(kernels_for(isa), both, last, x.data(), tokens, got.data());
          run(work, chunk);
          CHECK(truth::same_bits(got, expected), "%s, %s, %ld tokens", isa_name(isa),
                formats.name().c_str(), long(tokens));
        }
      }
    }
  }
}

namespace {

struct Moe {
  MoeShape shape;
  std::vector<float> router, bias;
  std::vector<Mlp> experts;
  std::vector<uint8_t> gate_up, down;

  static Moe random(truth::Random& random, const MoeShape& shape) {
    Moe moe{shape, {}, {}, {}, {}, {}};
    moe.router =
        truth::normal_values(random, static_cast<size_t>(shape.experts * shape.hidden), 0.1f);
    moe.bias = truth::normal_values(random, static_cast<size_t>(shape.experts), 0.2f);
    for (int64_t e = 0; e < shape.experts; ++e) {
      moe.experts.push_back(Mlp::random(random, {shape.gate_up_format, shape.down_format},
                                        shape.hidden, shape.inner));
      const Mlp& mlp = moe.experts.back();
      const auto both = pack_gate_up(mlp.gate, mlp.up), down = truth::pack(mlp.down);
      moe.gate_up.insert(moe.gate_up.end(), both.begin(), both.end());
      moe.down.insert(moe.down.end(), down.begin(), down.end());
    }
    return moe;
  }

  /// Experts and weights of a token, best first.
  std::vector<std::pair<int64_t, float>> route(const float* x) const {
    std::vector<float> scores(bias.size());
    kernels_for(Isa::kScalar)
        .vectors.dots(x, router.data(), shape.experts, shape.hidden, scores.data());
    for (float& s : scores) s = static_cast<float>(1 / (1 + std::exp(-double{s})));
    std::vector<int64_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return scores[size_t(a)] + bias[size_t(a)] > scores[size_t(b)] + bias[size_t(b)];
    });
    std::vector<std::pair<int64_t, float>> chosen;
    float sum = 0;
    for (int64_t k = 0; k < shape.top_k; ++k) {
      chosen.emplace_back(order[size_t(k)], scores[size_t(order[size_t(k)])]);
      sum += chosen.back().second;
    }
    for (auto& [expert, weight] : chosen) {
      if (shape.norm_topk_prob) weight /= sum + 1e-6f;
      weight *= shape.routed_scaling_factor;
    }
    return chosen;
  }

  std::vector<float> apply(const std::vector<float>& x) const {
    std::vector<float> out;
    for (int64_t t = 0; t < int64_t(x.size()) / shape.hidden; ++t) {
      const std::vector<float> row = row_of(x, t, shape.hidden);
      std::vector<float> sum(static_cast<size_t>(shape.hidden));
      auto chosen = route(row.data());
      std::sort(chosen.begin(), chosen.end());
      for (const auto& [expert, weight] : chosen) {
        const std::vector<float> y = experts[size_t(expert)].apply(row);
        for (size_t i = 0; i < sum.size(); ++i) sum[i] = std::fma(weight, y[i], sum[i]);
      }
      out.insert(out.end(), sum.begin(), sum.end());
    }
    return out;
  }

  /// `chunk` tasks at a time; with 0, on several threads.
  std::vector<float> run_tasks(const Kernels& kernels, const std::vector<float>& x,
                               int64_t chunk) const {
    const int64_t tokens = int64_t(x.size()) / shape.hidden;
    std::vector<float> out(x.size(), -7.0f);
    SparseMoeWork work(kernels, shape, {router.data(), bias.data(), gate_up.data(), down.data()},
                       x.data(), tokens, out.data());
    if (chunk == 0) {
      run_on_threads(work, 3);
    } else {
      run(work, chunk);
    }
    return out;
  }
};

void check_moe(const Moe& moe, const std::vector<float>& x) {
  const std::vector<float> expected = moe.apply(x);
  for (Isa isa : truth::instruction_sets()) {
    for (int64_t chunk : {0, 1, 5, 1000}) {
      CHECK(truth::same_bits(moe.run_tasks(kernels_for(isa), x, chunk), expected),
            "%s, %s, %zu tokens, chunk %ld", isa_name(isa), moe.experts[0].gate.format->name,
            x.size() / size_t(moe.shape.hidden), long(chunk));
    }
  }
}

}  // namespace

TEST(sparse_moe) {
  truth::Random random(3);
  for (const Formats& formats : kPairs) {
    const int64_t hidden = random_columns(random, *formats.gate_up);
    const int64_t inner = random_columns(random, *formats.down);
    for (bool norm : {true, false}) {
      const Moe moe = Moe::random(
          random, {formats.gate_up, formats.down, hidden, inner, 11, 3, norm, norm ? 1.0f : 1.7f});
      for (size_t tokens : {1, 2, 9, 60}) {
        check_moe(moe, truth::normal_values(random, tokens * size_t(hidden), 3));
      }
    }
  }
}

TEST(sparse_moe_of_all_and_of_one_expert) {
  truth::Random random(4);
  for (const Format& format : lfm_ops_formats) {
    for (int64_t top_k : {1, 5}) {
      const int64_t size = lfm_ops_tile_columns(&format);
      Moe moe = Moe::random(random, {&format, &format, size, size, 5, top_k, true, 1.0f});
      check_moe(moe, truth::normal_values(random, size_t(20 * size), 3));
      moe.bias[3] = 10;  // every token chooses it
      check_moe(moe, truth::normal_values(random, size_t(300 * size), 3));
    }
  }
}

TEST(of_equal_scores_the_lower_expert_is_chosen) {
  truth::Random random(5);
  Moe moe = Moe::random(random, {&truth::kQ4, &truth::kQ4, 32, 64, 9, 4, true, 1.0f});
  std::fill(moe.router.begin(), moe.router.end(), 0.0f);
  std::fill(moe.bias.begin(), moe.bias.end(), 0.0f);
  check_moe(moe, truth::normal_values(random, 7 * 32));
  moe.bias[8] = moe.bias[6] = 0.25f;
  check_moe(moe, truth::normal_values(random, 7 * 32));
}

TEST(sparse_moe_survives_nan) {
  truth::Random random(6);
  const Moe moe = Moe::random(random, {&truth::kQ8, &truth::kQ8, 32, 64, 9, 4, true, 1.0f});
  std::vector<float> x = truth::normal_values(random, 5 * 32);
  x[40] = std::nanf("");
  const std::vector<float> healthy = moe.apply(row_of(x, 0, 32));
  const std::vector<float> got = moe.run_tasks(kernels_for(best_isa()), x, 3);
  CHECK(truth::same_bits(row_of(got, 0, 32), healthy));
  for (int64_t i = 32; i < 64; ++i) CHECK(std::isnan(got[size_t(i)]), "%ld", long(i));
}

TEST(embedding_rows) {
  truth::Random random(7);
  for (const Format& format : lfm_ops_formats) {
    const int64_t columns = random_columns(random, format);
    const truth::Weights w = truth::random_weights(random, format, 77, columns);
    const std::vector<uint8_t> packed = truth::pack(w);
    const std::vector<int64_t> ids = {0, 76, 31, 32, 15, 16, 31, 70};
    std::vector<float> got(ids.size() * size_t(columns)), expected;
    EmbeddingWork work(packed_matrix(packed, w), ids.data(), 8, got.data());
    run(work, 3);
    for (int64_t id : ids) {
      for (int64_t i = 0; i < columns; ++i) expected.push_back(w.at(id, i));
    }
    CHECK(truth::same_bits(got, expected), "%s", format.name);
  }
}
