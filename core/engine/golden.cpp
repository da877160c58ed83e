#include "engine/golden.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>

#include "base/error.h"

namespace lfm::core {
namespace {

constexpr int64_t kRaggedChunks[] = {8, 5, 1, 3, 8, 7};

// How many golden positions fit the bundle's context.
int64_t length_of(const Bundle& bundle) {
  const Manifest& manifest = bundle.manifest();
  return std::min(static_cast<int64_t>(manifest.golden.ids.size()), manifest.model.max_context);
}

std::vector<int64_t> single_tokens(int64_t length) {
  return std::vector<int64_t>(static_cast<size_t>(length), 1);
}

std::vector<int64_t> ragged(int64_t length) {
  std::vector<int64_t> chunks;
  for (size_t i = 0; length > 0; ++i) {
    const int64_t chunk = std::min(kRaggedChunks[i % std::size(kRaggedChunks)], length);
    chunks.push_back(chunk);
    length -= chunk;
  }
  return chunks;
}

// A number with so many digits, as Python's :.6g writes it.
std::string shown(double number, int digits) {
  if (std::isnan(number)) return "nan";
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, number);
  return text;
}

// The first of the largest, or the first that is no number.
int64_t argmax(const float* logits, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 0; i < count && !std::isnan(logits[best]); ++i) {
    if (std::isnan(logits[i]) || logits[i] > logits[best]) best = i;
  }
  return best;
}

// What a position must give for one token, and what it gave.
struct Compared {
  int64_t id = 0;
  double logit = 0, expected = 0, error = -1;
};

void take_if_worse(Compared& worst, const float* logits, int64_t id, double expected) {
  const double logit = logits[id], error = std::fabs(logit - expected);
  if (std::isnan(worst.error)) return;
  if (std::isnan(error) || error > worst.error) worst = {id, logit, expected, error};
}

Compared worst_of(const GoldenVectors& golden, size_t position, const float* logits) {
  Compared worst;
  const auto& tops = golden.top_ids[position];
  for (size_t i = 0; i < tops.size(); ++i) {
    take_if_worse(worst, logits, tops[i], golden.top_logits[position][i]);
  }
  for (size_t i = 0; i < golden.probe_ids.size(); ++i) {
    take_if_worse(worst, logits, golden.probe_ids[i], golden.probe_logits[position][i]);
  }
  return worst;
}

bool argmax_counts(const GoldenVectors& golden, size_t position) {
  const auto& logits = golden.top_logits[position];
  return logits.size() > 1 && logits[0] - logits[1] > 2 * golden.tolerance;
}

}  // namespace

GoldenReplay::GoldenReplay(std::shared_ptr<const Runtime> runtime, std::string stage,
                           std::vector<int64_t> chunks)
    : runtime_(std::move(runtime)), stage_(std::move(stage)), chunks_(std::move(chunks)) {
  for (const int64_t chunk : chunks_) length_ += chunk;
  const auto count = static_cast<int64_t>(chunks_.size());
  const auto ids = static_cast<int64_t>(golden().ids.size());
  const int64_t outliers = std::min(golden().outliers, ids);
  // At least one must hold, however few there are.
  allowed_ = std::min((outliers * count + ids - 1) / ids, count - 1);
}

std::optional<Progress> GoldenReplay::next() {
  if (chunk_ == chunks_.size()) return std::nullopt;
  if (session_ == nullptr) session_ = std::make_unique<Session>(runtime_, length_);
  const auto from = golden().ids.begin() + static_cast<std::ptrdiff_t>(session_->position());
  const float* const logits =
      session_->prefill(std::vector<int32_t>(from, from + chunks_[chunk_++]));
  const int64_t done = session_->position();
  compare(logits, done - 1);
  if (chunk_ == chunks_.size()) session_.reset();
  return Progress{stage_, done, length_};
}

void GoldenReplay::compare(const float* logits, int64_t position) {
  const auto row = static_cast<size_t>(position);
  const Compared worst = worst_of(golden(), row, logits);
  std::string complaint;
  if (!(worst.error <= golden().tolerance)) {
    complaint = "token " + std::to_string(worst.id) + " has logit " + shown(worst.logit, 6) +
                ", expected " + shown(worst.expected, 6) + " within " +
                shown(golden().tolerance, 3);
  } else if (argmax_counts(golden(), row)) {
    const int64_t likeliest = argmax(logits, runtime_->vocab_size());
    const int64_t expected = golden().top_ids[row][0];
    if (likeliest != expected) {
      complaint = "the likeliest token is " + std::to_string(likeliest) + ", expected " +
                  std::to_string(expected);
    }
  }
  if (complaint.empty()) {
    if (worst.error >= error_) worst_ = position;
    error_ = std::max(error_, worst.error);
  } else if (++outliers_ > allowed_) {
    const std::string count = allowed_ == 0
                                  ? ""
                                  : ", the " + std::to_string(outliers_) + "th miss where " +
                                        std::to_string(allowed_) + " may";
    throw Error(LFM_INTEGRITY, "golden vectors missed in " + stage_ + " at position " +
                                   std::to_string(position) + count + ": " + complaint);
  }
}

GoldenCheck::GoldenCheck(std::shared_ptr<const Runtime> runtime)
    : decode_(runtime, "decode", single_tokens(length_of(runtime->bundle()))),
      prefill_(runtime, "prefill", ragged(length_of(runtime->bundle()))),
      going_back_(runtime, runtime->bundle().manifest().golden.ids),
      tolerance_(runtime->bundle().manifest().golden.tolerance) {}

std::optional<Progress> GoldenCheck::next() {
  if (auto progress = decode_.next()) return progress;
  if (auto progress = prefill_.next()) return progress;
  return going_back_.next();
}

double GoldenCheck::worst() const { return std::max(decode_.error(), prefill_.error()); }

}  // namespace lfm::core
