#include "bench/measure.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "bench/device.h"

namespace lfm::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The same tokens in every run, so that the spread is the device's.
std::vector<int32_t> some_tokens(int64_t count, int64_t vocab_size) {
  std::mt19937_64 random(0);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
  }
  return ids;
}

void refill(LfmSession session, const std::vector<int32_t>& ids, int64_t depth) {
  check(lfm_session_rewind(session, 0));
  if (depth > 0) check(lfm_session_prefill(session, ids.data(), depth, nullptr));
}

Handle open_session(LfmModel model, int64_t capacity) {
  Handle session;
  check(lfm_session_open(model, capacity, session.out()));
  return session;
}

}  // namespace

void check(LfmStatus status) {
  if (status != LFM_OK) throw CoreError(status, lfm_last_error());
}

std::string text_of(const std::function<LfmStatus(char*, size_t, size_t*)>& call) {
  std::string buffer(4096, '\0');
  size_t needed = 0;
  LfmStatus status = call(buffer.data(), buffer.size(), &needed);
  if (status == LFM_BUFFER) {
    buffer.resize(needed);
    status = call(buffer.data(), buffer.size(), &needed);
  }
  check(status);
  return buffer.c_str();
}

core::Json drain(const Handle& events, const std::function<void(const core::Json&)>& heard) {
  core::Json last;
  while (true) {
    LfmStatus status = LFM_OK;
    const std::string text = text_of([&](char* buffer, size_t size, size_t* needed) {
      status = lfm_next(events.get(), buffer, size, needed);
      return status == LFM_END ? LFM_OK : status;
    });
    if (status == LFM_END) return last;
    last = core::Json::parse(text, "event");
    heard(last);
  }
}

Samples measure(LfmModel model, int64_t vocab_size, const Arguments& arguments,
                const std::function<void(int64_t)>& done) {
  const Handle session = open_session(model, arguments.capacity());
  const std::vector<int32_t> ids = some_tokens(arguments.capacity(), vocab_size);
  const int32_t* const prompt = ids.data() + arguments.depth;
  const int32_t* const generated = prompt + arguments.prompt_tokens;
  std::vector<float> logits(static_cast<size_t>(vocab_size));
  Samples samples;
  for (int64_t run = 0; run <= arguments.repetitions; ++run) {
    if (run == 1) samples = Samples();  // the warm-up
    if (arguments.prompt_tokens > 0) {
      refill(session.get(), ids, arguments.depth);
      const Clock::time_point start = Clock::now();
      check(lfm_session_prefill(session.get(), prompt, arguments.prompt_tokens, logits.data()));
      const double prefill = seconds_since(start);
      // The choice of the likeliest token belongs to the first one; so it must not be left out.
      const volatile auto likeliest =
          std::max_element(logits.begin(), logits.end()) - logits.begin();
      (void)likeliest;
      samples.first_token.push_back(seconds_since(start));
      samples.prefill.push_back(static_cast<double>(arguments.prompt_tokens) / prefill);
    }
    if (arguments.generated_tokens > 0) {
      refill(session.get(), ids, arguments.depth);
      const Clock::time_point start = Clock::now();
      for (int64_t i = 0; i < arguments.generated_tokens; ++i) {
        check(lfm_session_prefill(session.get(), generated + i, 1, logits.data()));
      }
      samples.decode.push_back(static_cast<double>(arguments.generated_tokens) /
                               seconds_since(start));
    }
    done(run);
  }
  return samples;
}

std::vector<Moment> sustained(LfmModel model, int64_t vocab_size, const Arguments& arguments,
                              const std::function<void(const Moment&)>& heard) {
  constexpr double kEvery = 5;  // seconds
  const int64_t room = std::max<int64_t>(arguments.generated_tokens, 128);
  const Handle session = open_session(model, arguments.depth + room);
  const std::vector<int32_t> ids = some_tokens(arguments.depth + room, vocab_size);
  std::vector<Moment> moments;
  refill(session.get(), ids, arguments.depth);
  int64_t held = 0, tokens = 0;
  const Clock::time_point begin = Clock::now();
  Clock::time_point since = begin;
  while (seconds_since(begin) < static_cast<double>(arguments.sustained_seconds)) {
    if (held == room) {
      check(lfm_session_rewind(session.get(), arguments.depth));
      held = 0;
    }
    check(lfm_session_prefill(session.get(), ids.data() + arguments.depth + held++, 1, nullptr));
    ++tokens;
    const double passed = seconds_since(since);
    if (passed < kEvery) continue;
    moments.push_back({seconds_since(begin), static_cast<double>(tokens) / passed,
                       temperature_celsius(), frequency_mhz()});
    heard(moments.back());
    tokens = 0;
    since = Clock::now();
  }
  return moments;
}

}  // namespace lfm::bench
