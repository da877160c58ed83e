// The command line of lfm_bench.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace lfm::bench {

// A mistake of the user's: one line, exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Arguments {
  std::string bundle;
  int64_t prompt_tokens = 512;
  int64_t generated_tokens = 128;
  int64_t repetitions = 5;
  int64_t depth = 0;
  int64_t threads = 0;            // 0: as the core chooses
  int64_t sustained_seconds = 0;  // 0: no sustained run
  std::vector<int> cores;         // empty: any
  std::string json;
  std::string onnxruntime;
  bool verify = false;
  bool help = false;

  // Tokens that a session must hold.
  int64_t capacity() const { return depth + prompt_tokens + generated_tokens; }
};

extern const char* const kHelp;

Arguments parse_arguments(int count, char** words);

}  // namespace lfm::bench
