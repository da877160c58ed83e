#include "bench/arguments.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace lfm::bench {

const char* const kHelp =
    R"(Usage: lfm_bench BUNDLE [options]

Measure a bundle's speed and memory on this device, in llama-bench's terms; the same figures and the
same JSON as `lfm-edge bench`.

  -p N             tokens of the prompt; 0: skip (512)
  -n N             tokens to generate; 0: skip (128)
  -r N             repetitions after a warm-up (5)
  -d N             tokens of context before each part (0)
  --threads N      threads (one a core; on phones without the slowest kind)
  --cores LIST     run on these cores alone, such as 4-7 or 0,2,4
  --verify         hash every file and replay the golden vectors first
  --sustained S    then decode for S seconds, telling speed, temperature and frequency
  --json FILE      write the result here, for `lfm-edge bench --compare`
  --onnxruntime F  the library libonnxruntime.so, if the system does not find it
  --help           show this

Example: adb shell "cd /data/local/tmp && LD_LIBRARY_PATH=. ./lfm_bench model -p 512 -n 128"
)";

namespace {

int64_t number(std::string_view option, std::string_view text, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) {
    throw UsageError(std::string(option) + " " + std::string(text) + ": expected a whole number");
  }
  if (value < least) {
    throw UsageError(std::string(option) + " " + std::string(text) + ": must be at least " +
                     std::to_string(least));
  }
  if (value > most) {
    throw UsageError(std::string(option) + " " + std::string(text) + ": must be at most " +
                     std::to_string(most));
  }
  return value;
}

// "0,2,4-7" as its numbers.
std::vector<int> core_list(std::string_view text) {
  constexpr int64_t kMost = 1023;
  std::vector<int> cores;
  try {
    for (size_t at = 0; at <= text.size();) {
      const size_t end = std::min(text.find(',', at), text.size());
      const std::string_view part = text.substr(at, end - at);
      const size_t dash = part.find('-');
      const int64_t first = number("", part.substr(0, dash), 0, kMost);
      const int64_t last =
          dash == part.npos ? first : number("", part.substr(dash + 1), first, kMost);
      for (int64_t core = first; core <= last; ++core) cores.push_back(static_cast<int>(core));
      at = end + 1;
    }
  } catch (const UsageError&) {
    throw UsageError("--cores " + std::string(text) + ": expected cores such as 4-7 or 0,2,4");
  }
  return cores;
}

constexpr int64_t kMostTokens = 1 << 24;

// Whether `option` takes a value, which it is given then.
bool set(Arguments& arguments, std::string_view option, std::string_view value) {
  if (option == "-p") {
    arguments.prompt_tokens = number(option, value, 0, kMostTokens);
  } else if (option == "-n") {
    arguments.generated_tokens = number(option, value, 0, kMostTokens);
  } else if (option == "-r") {
    arguments.repetitions = number(option, value, 1, 100000);
  } else if (option == "-d") {
    arguments.depth = number(option, value, 0, kMostTokens);
  } else if (option == "--threads") {
    arguments.threads = number(option, value, 1, 1024);
  } else if (option == "--sustained") {
    arguments.sustained_seconds = number(option, value, 1, 86400);
  } else if (option == "--cores") {
    arguments.cores = core_list(value);
  } else if (option == "--json") {
    if (value.empty()) throw UsageError("--json: expected the name of a file");
    arguments.json = value;
  } else if (option == "--onnxruntime") {
    arguments.onnxruntime = value;
  } else {
    return false;
  }
  return true;
}

bool takes_value(std::string_view option) {
  for (const char* known :
       {"-p", "-n", "-r", "-d", "--threads", "--sustained", "--cores", "--json", "--onnxruntime"}) {
    if (option == known) return true;
  }
  return false;
}

}  // namespace

Arguments parse_arguments(int count, char** words) {
  Arguments arguments;
  for (int at = 1; at < count; ++at) {
    const std::string_view word = words[at];
    if (word == "--help" || word == "-h") {
      arguments.help = true;
      return arguments;
    }
    if (word == "--verify") {
      arguments.verify = true;
    } else if (takes_value(word)) {
      if (at + 1 == count) throw UsageError(std::string(word) + ": expected a value");
      set(arguments, word, words[++at]);
    } else if (!word.empty() && word[0] == '-') {
      throw UsageError(std::string(word) + ": no such option; see --help");
    } else if (!arguments.bundle.empty()) {
      throw UsageError("one bundle at a time, not " + arguments.bundle + " and " +
                       std::string(word));
    } else {
      arguments.bundle = word;
    }
  }
  if (arguments.bundle.empty()) throw UsageError("expected the folder of a bundle; see --help");
  if (arguments.prompt_tokens == 0 && arguments.generated_tokens == 0) {
    throw UsageError("-p 0 -n 0 leaves nothing to measure");
  }
  return arguments;
}

}  // namespace lfm::bench
