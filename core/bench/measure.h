// The figures of one bundle, taken through the C ABI.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "bench/arguments.h"
#include "lfm_core.h"

namespace lfm::bench {

// A call of the core that failed: its message.
struct CoreError : std::runtime_error {
  CoreError(LfmStatus status, const std::string& message)
      : std::runtime_error(message), status(status) {}
  LfmStatus status;
};

// Raises what a call of the core says.
void check(LfmStatus status);

// A handle of the core, closed in the end.
class Handle {
 public:
  Handle() = default;
  ~Handle() { lfm_close(value_); }
  Handle(Handle&& other) noexcept : value_(other.value_) { other.value_ = 0; }
  Handle& operator=(Handle&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }

  LfmHandle* out() { return &value_; }
  LfmHandle get() const { return value_; }

 private:
  LfmHandle value_ = 0;
};

// The text that a call gives, in a buffer that is made large enough.
std::string text_of(const std::function<LfmStatus(char*, size_t, size_t*)>& call);

// Takes all events of a check or a proof, tells `heard` of each, and gives the last one.
core::Json drain(const Handle& events, const std::function<void(const core::Json&)>& heard);

struct Samples {
  std::vector<double> prefill;      // tokens per second
  std::vector<double> decode;       // tokens per second
  std::vector<double> first_token;  // seconds
};

// One warm-up, which is dropped, then the repetitions; `done` hears of each run.
Samples measure(LfmModel model, int64_t vocab_size, const Arguments& arguments,
                const std::function<void(int64_t)>& done);

// Speed and state of the device while it decodes without a pause.
struct Moment {
  double seconds;
  double tokens_per_second;
  std::optional<double> temperature_celsius;
  std::optional<double> frequency_mhz;
};
std::vector<Moment> sustained(LfmModel model, int64_t vocab_size, const Arguments& arguments,
                              const std::function<void(const Moment&)>& heard);

}  // namespace lfm::bench
