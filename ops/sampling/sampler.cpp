#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <new>
#include <vector>

#include "arithmetic.h"
#include "history.h"
#include "lfm_ops/sampling.h"

namespace lfm {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr int kBlock = 64;         // tokens that share a maximum: most are passed over by it alone
constexpr int kLanes = 4;          // 16 bytes: what every CPU has, and no compiler takes apart
constexpr int kAhead = 512;        // scores, fetched early: half of them lie with another core
constexpr int kAtOnce = 4;         // vectors, so that none waits for the one before
constexpr size_t kNucleus = 1024;  // sorted first; eight times as many where these do not do

struct Candidate {
  int32_t id;
  float score;
  double weight;
};

bool more_likely(const Candidate& a, const Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));

float largest_lane(const Floats& values) {
  return std::max(std::max(values[0], values[1]), std::max(values[2], values[3]));
}

// The largest of a block's scores; lanes of `nan` become nonzero where one is no number.
float block_maximum(const float* scores, Ints* nan) {
  Floats largest[kAtOnce];
  Ints invalid{};
  for (Floats& some : largest) some = Floats{} + kNever;
  for (int i = 0; i < kBlock; i += kAtOnce * kLanes) {
    Floats x[kAtOnce];
    std::memcpy(x, scores + i, sizeof x);
    __builtin_prefetch(scores + i + kAhead);
    for (int k = 0; k < kAtOnce; ++k) {
      largest[k] = largest[k] < x[k] ? x[k] : largest[k];
      invalid |= x[k] != x[k];
    }
  }
  *nan |= invalid;
  for (int k = 1; k < kAtOnce; ++k) {
    largest[0] = largest[0] < largest[k] ? largest[k] : largest[0];
  }
  return largest_lane(largest[0]);
}

// The same of those scores whose bit is set in `allowed`, two words.
float allowed_maximum(const float* scores, const uint32_t* allowed) {
  const Ints lane_bits = {1, 2, 4, 8};
  const Floats never = Floats{} + kNever;
  Floats largest = never;
  for (int i = 0; i < kBlock; i += kLanes) {
    Floats x;
    std::memcpy(&x, scores + i, sizeof x);
    const Ints bits = (Ints{} + static_cast<int32_t>(allowed[i / 32] >> (i % 32))) & lane_bits;
    x = bits != 0 ? x : never;
    largest = largest < x ? x : largest;
  }
  return largest_lane(largest);
}

float adjusted_score(float logit, const Adjusted& entry, const LfmSamplingOptions& options) {
  float score = logit;
  const float penalty = options.repetition_penalty;
  if (entry.seen) {
    const float lower = score * penalty, higher = score / penalty;  // no branch to guess wrong
    score = score < 0 ? lower : std::min(higher, FLT_MAX);
  }
  if (entry.count > 0) {
    const float frequency = options.frequency_penalty * static_cast<float>(entry.count);
    score = score - frequency;
    score = score - options.presence_penalty;
  }
  return score + entry.bias;
}

}  // namespace
}  // namespace lfm

using lfm::Adjusted;
using lfm::Candidate;

struct LfmSampler {
  LfmSampler(const LfmSamplingOptions& options, int32_t vocab_size)
      : options_(options),
        size_(vocab_size),
        history_(vocab_size),
        maxima_((vocab_size + lfm::kBlock - 1) / lfm::kBlock) {}

  lfm::History& history() { return history_; }
  void count_draw() { ++draws_; }

  int32_t choose(float* logits, const uint32_t* allowed) {
    history_.sort();
    kept_.resize(history_.entries().size());
    logits_ = logits;
    allowed_ = allowed;
    const bool finite = put_scores();
    int32_t token;
    try {
      token = finite ? choose_by_score() : LFM_SAMPLING_NOT_FINITE;
    } catch (const std::bad_alloc&) {
      token = LFM_SAMPLING_NO_MEMORY;
    }
    take_scores_back();
    return token;
  }

 private:
  // Writes the scores of adjusted tokens over their logits and finds the largest allowed score of
  // each block, in one sweep; false where the logits are not finite.
  bool put_scores() {
    lfm::Ints nans{};
    float largest = lfm::kNever;
    size_t next = history_.sorted();
    put_below(size_, history_.entries().size(), &next);
    next = 0;
    for (int32_t first = 0; first < size_; first += lfm::kBlock) {
      const int32_t last = std::min(first + lfm::kBlock, size_);
      put_below(last, history_.sorted(), &next);
      float maximum;
      if (last - first == lfm::kBlock) {
        maximum = lfm::block_maximum(logits_ + first, &nans);
        largest = std::max(largest, maximum);
        maximum = allowed_ == nullptr
                      ? maximum
                      : lfm::allowed_maximum(logits_ + first, allowed_ + first / 32);
      } else {
        maximum = lfm::kNever;
        for (int32_t id = first; id < last; ++id) {
          nans[0] |= logits_[id] != logits_[id];
          largest = std::max(largest, logits_[id]);
          if (is_allowed(id)) maximum = std::max(maximum, logits_[id]);
        }
      }
      maxima_[first / lfm::kBlock] = maximum;
    }
    bool nan = false;
    for (int lane = 0; lane < lfm::kLanes; ++lane) nan = nan || nans[lane] != 0;
    for (const float logit : kept_) {
      nan = nan || logit != logit;
      largest = std::max(largest, logit);
    }
    return !nan && std::isfinite(largest);
  }

  // Writes the scores of the entries from `next` to `end` whose ids lie below `id`.
  void put_below(int32_t id, size_t end, size_t* next) {
    const std::vector<Adjusted>& entries = history_.entries();
    for (; *next < end && entries[*next].id < id; ++*next) {
      float& logit = logits_[entries[*next].id];
      kept_[*next] = logit;
      logit = lfm::adjusted_score(logit, entries[*next], options_);
    }
  }

  void take_scores_back() {
    const std::vector<Adjusted>& entries = history_.entries();
    for (size_t i = 0; i < entries.size(); ++i) logits_[entries[i].id] = kept_[i];
  }

  bool is_allowed(int32_t id) const {
    return allowed_ == nullptr || ((allowed_[id / 32] >> (id % 32)) & 1) != 0;
  }

  // Calls `visit(id, score)` for the allowed tokens with a finite score of `least` or more, in the
  // order of ids, until it answers false.
  template <typename Visit>
  void walk(float least, Visit visit) const {
    least = std::max(least, -FLT_MAX);
    for (int32_t first = 0; first < size_; first += lfm::kBlock) {
      if (maxima_[first / lfm::kBlock] < least) continue;
      const int32_t last = std::min(first + lfm::kBlock, size_);
      for (int32_t id = first; id < last; ++id) {
        if (logits_[id] >= least && is_allowed(id) && !visit(id, logits_[id])) return;
      }
    }
  }

  int32_t most_likely() const {
    int32_t token = LFM_SAMPLING_NONE_LEFT;
    walk(*std::max_element(maxima_.begin(), maxima_.end()), [&](int32_t id, float) {
      token = id;
      return false;
    });
    return token;
  }

  int32_t choose_by_score() { return options_.temperature == 0 ? most_likely() : draw(); }

  int32_t draw() {
    const int32_t best = most_likely();
    if (best < 0) return best;
    collect(logits_[best]);
    weigh(logits_[best]);
    if (options_.top_p < 1) keep_nucleus();
    if (options_.min_p > 0) {
      drop([&](const Candidate& candidate) { return !(candidate.weight >= options_.min_p); });
    }
    return pick();
  }

  void weigh(double largest) {
    constexpr size_t lanes = lfm::kExpLanes;
    for (size_t first = 0; first < candidates_.size(); first += lanes) {
      const size_t count = std::min(lanes, candidates_.size() - first);
      Candidate* some = &candidates_[first];
      double values[lanes] = {};
      for (size_t i = 0; i < count; ++i) {
        const double difference = static_cast<double>(some[i].score) - largest;
        values[i] = difference / options_.temperature;
      }
      lfm::exp_of_negative(values);
      for (size_t i = 0; i < count; ++i) some[i].weight = values[i];
    }
  }

  // Fills `candidates_`, in the order of ids: with what top-k leaves, or with all whose weights are
  // needed. `largest` is the score of the most likely token.
  void collect(float largest) {
    candidates_.clear();
    const auto take = [&](int32_t id, float score) {
      candidates_.push_back({id, score, 0.0});
      return true;
    };
    if (options_.top_k > 0 && options_.top_k < size_) {
      // The k-th largest maximum of a block is no larger than the k-th largest score.
      walk(kth_largest(maxima_), take);
      bounds_.clear();
      for (const Candidate& candidate : candidates_) bounds_.push_back(candidate.score);
      const float kth = kth_largest(bounds_);
      drop([&](const Candidate& candidate) { return candidate.score < kth; });
    } else if (options_.min_p > 0 && options_.top_p == 1) {
      // Far below min-p's limit no weight needs to be computed: one part in a hundred is more than
      // any rounding.
      const double lowest = options_.temperature * (std::log(options_.min_p) - 0.01);
      const double limit = static_cast<double>(largest) + lowest;
      const float least = static_cast<float>(std::max(limit, static_cast<double>(-FLT_MAX)));
      walk(std::nextafter(least, lfm::kNever), take);
    } else {
      walk(lfm::kNever, take);
    }
  }

  // The k-th largest of `values`, k being top-k; if there are fewer, less than any.
  float kth_largest(const std::vector<float>& values) {
    const size_t k = options_.top_k;
    if (values.size() < k) return lfm::kNever;
    ordered_.assign(values.begin(), values.end());
    std::nth_element(ordered_.begin(), ordered_.begin() + (k - 1), ordered_.end(),
                     std::greater<float>());
    return ordered_[k - 1];
  }

  template <typename Unwanted>
  void drop(Unwanted unwanted) {
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), unwanted),
                      candidates_.end());
  }

  double total() const {
    double sum = 0;
    for (const Candidate& candidate : candidates_) sum += candidate.weight;
    return sum;
  }

  // Keeps the fewest, most likely candidates that hold top-p of the sum.
  void keep_nucleus() {
    const double wanted = options_.top_p * total();
    double sum = 0;
    size_t kept = 0, sorted = 0;
    for (size_t size = lfm::kNucleus; sorted < candidates_.size(); size *= 8) {
      const auto begin = candidates_.begin() + sorted;
      const auto end = candidates_.begin() + std::min(size, candidates_.size());
      std::nth_element(begin, end - 1, candidates_.end(), lfm::more_likely);
      std::sort(begin, end, lfm::more_likely);
      sorted = end - candidates_.begin();
      while (kept < sorted && sum < wanted) sum += candidates_[kept++].weight;
      if (kept < sorted) break;
    }
    candidates_.resize(kept);
    std::sort(candidates_.begin(), candidates_.end(),
              [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  }

  int32_t pick() const {
    const double target = lfm::uniform(options_.seed, draws_) * total();
    double sum = 0;
    int32_t last = LFM_SAMPLING_NONE_LEFT;
    for (const Candidate& candidate : candidates_) {
      sum += candidate.weight;
      if (sum > target) return candidate.id;
      if (candidate.weight > 0) last = candidate.id;
    }
    return last;
  }

  LfmSamplingOptions options_;
  int32_t size_;
  uint64_t draws_ = 0;
  lfm::History history_;
  // Used by one `choose` after another, so that none allocates.
  float* logits_ = nullptr;
  const uint32_t* allowed_ = nullptr;
  std::vector<float> maxima_, bounds_, ordered_, kept_;
  std::vector<Candidate> candidates_;
};

namespace {

// Calls `act(entry, i)` for each of the tokens that the vocabulary has.
template <typename Act>
int32_t for_each_entry(LfmSampler* sampler, const int32_t* ids, int32_t count, Act act) {
  try {
    for (int32_t i = 0; i < count; ++i) {
      if (Adjusted* entry = sampler->history().entry(ids[i])) act(entry, i);
    }
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // namespace

LfmSampler* lfm_sampler_create(const LfmSamplingOptions* options, int32_t vocab_size) {
  try {
    return new LfmSampler(*options, vocab_size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void lfm_sampler_destroy(LfmSampler* sampler) { delete sampler; }

int32_t lfm_sampler_bias(LfmSampler* sampler, const int32_t* ids, const float* biases,
                         int32_t count) {
  return for_each_entry(sampler, ids, count,
                        [&](Adjusted* entry, int32_t i) { entry->bias += biases[i]; });
}

int32_t lfm_sampler_observe(LfmSampler* sampler, const int32_t* ids, int32_t count) {
  return for_each_entry(sampler, ids, count, [](Adjusted* entry, int32_t) { entry->seen = true; });
}

int32_t lfm_sampler_choose(LfmSampler* sampler, float* logits, const uint32_t* allowed) {
  try {
    return sampler->choose(logits, allowed);
  } catch (const std::bad_alloc&) {
    return LFM_SAMPLING_NO_MEMORY;
  }
}

int32_t lfm_sampler_accept(LfmSampler* sampler, int32_t token) {
  sampler->count_draw();
  return for_each_entry(sampler, &token, 1, [](Adjusted* entry, int32_t) {
    entry->seen = true;
    ++entry->count;
  });
}

double lfm_sampling_exp(double x) {
  double values[lfm::kExpLanes] = {x};
  lfm::exp_of_negative(values);
  return values[0];
}

double lfm_sampling_uniform(uint64_t seed, uint64_t index) { return lfm::uniform(seed, index); }
