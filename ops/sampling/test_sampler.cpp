// The same bits on every CPU: checksums that the NumPy reference gave (lfm_ops.sampling_reference),
// and the edges of a call.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "../tests/check.h"
#include "lfm_ops/sampling.h"

namespace {

constexpr int32_t kVocab = 1000;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// FNV-1a over 64-bit words.
struct Checksum {
  uint64_t value = 0xcbf29ce484222325u;
  void add(uint64_t word) { value = (value ^ word) * 0x100000001b3u; }
  void add(double number) {
    uint64_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    add(bits);
  }
};

LfmSamplingOptions off() { return {1, 1.0, 1.0, 0.0, 1.0f, 0.0f, 0.0f, 0}; }

std::vector<float> logits(uint64_t seed) {
  std::vector<float> values(kVocab);
  for (int32_t i = 0; i < kVocab; ++i) {
    values[i] = static_cast<float>((lfm_sampling_uniform(seed, i) - 0.5) * 16.0);
  }
  return values;
}

uint64_t answer(const LfmSamplingOptions& options, const uint32_t* allowed) {
  LfmSampler* sampler = lfm_sampler_create(&options, kVocab);
  const std::vector<int32_t> prompt = {1, 5, 5, 999, 1000, -1};
  const std::vector<int32_t> biased = {7, 8, 9};
  const std::vector<float> biases = {4.0f, -1.0f, -kInfinity};
  lfm_sampler_observe(sampler, prompt.data(), static_cast<int32_t>(prompt.size()));
  lfm_sampler_bias(sampler, biased.data(), biases.data(), static_cast<int32_t>(biased.size()));
  Checksum sum;
  for (uint64_t step = 0; step < 200; ++step) {
    std::vector<float> scores = logits(step);
    const int32_t token = lfm_sampler_choose(sampler, scores.data(), allowed);
    CHECK(scores == logits(step), "step %d", static_cast<int>(step));
    sum.add(static_cast<uint64_t>(token));
    lfm_sampler_accept(sampler, token);
  }
  lfm_sampler_destroy(sampler);
  return sum.value;
}

}  // namespace

TEST(arithmetic) {
  Checksum exps, draws;
  for (int i = 0; i < 70100; ++i) exps.add(lfm_sampling_exp(i * -0.01));
  for (uint64_t i = 0; i < 1000; ++i) draws.add(lfm_sampling_uniform(i * i, i));
  CHECK(exps.value == 0x871baff5a145e403u, "%016llx", static_cast<unsigned long long>(exps.value));
  CHECK(draws.value == 0x5acd6f88e5d573adu, "%016llx",
        static_cast<unsigned long long>(draws.value));
}

TEST(answers) {
  std::vector<uint32_t> allowed((kVocab + 31) / 32);
  for (int32_t i = 0; i < kVocab; i += 3) allowed[i / 32] |= 1u << (i % 32);
  std::vector<LfmSamplingOptions> settings(5, off());
  settings[0].temperature = 0;
  settings[1].top_k = 80, settings[1].repetition_penalty = 1.05f, settings[1].temperature = 0.2;
  settings[2].min_p = 0.15, settings[2].temperature = 0.3;
  settings[3].top_p = 0.9, settings[3].frequency_penalty = 0.5f, settings[3].presence_penalty = 1;
  const uint64_t expected[][2] = {{0x20e3c5f8f980a397u, 0xb41d3bdfbcb5215du},
                                  {0x2f79b8f66c6ba8fbu, 0x89a1843d5d2f33a1u},
                                  {0xee827c5bd386f683u, 0x8a77797f2a0d1926u},
                                  {0x4c6bcf800cb46becu, 0x2c5563357e80b382u},
                                  {0x08748795076a9fd7u, 0xf5b706e768520407u}};
  for (size_t i = 0; i < settings.size(); ++i) {
    const uint64_t got[2] = {answer(settings[i], nullptr), answer(settings[i], allowed.data())};
    for (int with = 0; with < 2; ++with) {
      CHECK(got[with] == expected[i][with], "setting %d, %d: %016llx", static_cast<int>(i), with,
            static_cast<unsigned long long>(got[with]));
    }
  }
}

TEST(refusals) {
  const LfmSamplingOptions options = off();
  LfmSampler* sampler = lfm_sampler_create(&options, kVocab);
  const std::vector<uint32_t> none((kVocab + 31) / 32);
  std::vector<float> scores = logits(0);
  CHECK(lfm_sampler_choose(sampler, scores.data(), none.data()) == LFM_SAMPLING_NONE_LEFT, "none");
  for (const float bad : {kInfinity, std::nanf("")}) {
    for (const int32_t place : {0, 63, kVocab - 1}) {
      scores = logits(0);
      scores[place] = bad;
      CHECK(lfm_sampler_choose(sampler, scores.data(), nullptr) == LFM_SAMPLING_NOT_FINITE,
            "%f at %d", static_cast<double>(bad), place);
    }
  }
  scores.assign(kVocab, -kInfinity);
  CHECK(lfm_sampler_choose(sampler, scores.data(), nullptr) == LFM_SAMPLING_NOT_FINITE, "empty");
  lfm_sampler_destroy(sampler);
}
