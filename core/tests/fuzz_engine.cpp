// Damages manifests and saved sessions: fuzz_engine LIBONNXRUNTIME BUNDLE [seconds] [seed]. Each
// must be refused, or its bundle run. Works in a copy of the bundle. Build with
// LFM_OPS_SANITIZE=address,undefined.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "bundle/bundle.h"
#include "engine/generation_config.h"
#include "engine/golden.h"
#include "engine/memory_plan.h"
#include "engine/session.h"
#include "random.h"
#include "temporary.h"

namespace lfm::core {
namespace {

constexpr size_t kLargestFile = 64 << 20;

// What a reader may trip over, in a JSON text.
const char* const kPieces[] = {"0",
                               "-1",
                               "1e400",
                               "9223372036854775807",
                               "99999999999999999999",
                               "null",
                               "true",
                               "\"\"",
                               "[]",
                               "{}",
                               "\"capacity\"",
                               "\"../x\"",
                               "1.5",
                               "\"conv\"",
                               "\"int8\"",
                               "\"float16\"",
                               "4096",
                               "1",
                               "2",
                               "\"input_ids\""};

void write(const std::string& path, const std::string& bytes) {
  std::remove(path.c_str());
  std::ofstream(path, std::ios::binary) << bytes;
}

bool is_of_a_value(char c) { return c != ',' && c != ':' && c != '[' && c != ']' && c != '}'; }

// Puts another value in the place of one.
void exchange_a_value(Random& random, std::string& text) {
  size_t begin = text.find_first_of(":,[", random.below(text.size()));
  if (begin == std::string::npos) return;
  size_t end = ++begin;
  while (end < text.size() && is_of_a_value(text[end])) ++end;
  text.replace(begin, end - begin, kPieces[random.below(std::size(kPieces))]);
}

void spoil(Random& random, std::string& text, bool is_json) {
  for (size_t faults = 1 + random.below(3); faults > 0 && !text.empty(); --faults) {
    const size_t head = random.one_in(2) ? std::min<size_t>(text.size(), 1500) : text.size();
    if (is_json && !random.one_in(4)) {
      exchange_a_value(random, text);
    } else if (random.one_in(8)) {
      text.resize(random.below(text.size()) + 1);
    } else if (random.one_in(3)) {
      text.erase(random.below(head), 1);
    } else {
      text[random.below(head)] = static_cast<char>(random.below(256));
    }
  }
}

class Fuzz {
 public:
  explicit Fuzz(const std::string& bundle) : folder_(temporary_path("fuzz")) {
    mkdir(folder_.c_str(), 0700);
    manifest_ = read_file(bundle + "/" + kManifest, kLargestFile);
    const Manifest listed = parse_manifest(kManifest, manifest_);
    for (const auto& [name, entry] : listed.files) {
      if (name.find('/') == std::string::npos) {
        write(folder_ + "/" + name, read_file(bundle + "/" + name, kLargestFile));
      }
    }
    write(folder_ + "/" + kManifest, manifest_);
    runtime_ = std::make_shared<const Runtime>(std::make_shared<const Bundle>(folder_), 1);
    Session session(runtime_, 64);
    session.prefill(std::vector<int32_t>{1, 2, 3, 4, 5});
    session.save(folder_ + "/session", "{\"messages\": []}");
    session_ = read_file(folder_ + "/session", kLargestFile);
  }

  // Whether it was refused.
  bool manifest(Random& random) {
    std::string text = manifest_;
    spoil(random, text, true);
    write(folder_ + "/" + kManifest, text);
    return refused([&] {
      const auto bundle = std::make_shared<const Bundle>(folder_);
      plan_memory(*bundle, 0);
      read_generation_config(*bundle);
      const auto runtime = std::make_shared<const Runtime>(bundle, 1);
      GoldenCheck golden(runtime);
      while (golden.next()) {
      }
    });
  }

  bool session(Random& random) {
    std::string bytes = session_;
    spoil(random, bytes, false);
    write(folder_ + "/session", bytes);
    return refused([&] {
      const OpenedSession opened = Session::open(runtime_, folder_ + "/session");
      opened.session->decode(7);
    });
  }

  void end() const {
    for (const auto& [name, entry] : runtime_->bundle().manifest().files) {
      std::remove((folder_ + "/" + name).c_str());
    }
    for (const char* const name : {kManifest, "session"}) {
      std::remove((folder_ + "/" + name).c_str());
    }
    std::remove(folder_.c_str());
  }

 private:
  static bool refused(const std::function<void()>& run) {
    try {
      run();
      return false;
    } catch (const Error& error) {
      if (error.status() == LFM_FAILED ||
          std::string(error.what()).find('\n') != std::string::npos) {
        std::printf("status %d: %s\n", error.status(), error.what());
        std::exit(1);
      }
      return true;
    }
  }

  std::string folder_, manifest_, session_;
  std::shared_ptr<const Runtime> runtime_;
};

int run(const char* library, const char* bundle, int seconds, uint64_t seed) {
  use_onnxruntime(library);
  Fuzz fuzz(bundle);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  unsigned long long runs = 0, refusals = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    Random random(seed + runs);
    refusals += (runs % 2 == 0 ? fuzz.manifest(random) : fuzz.session(random)) ? 1 : 0;
  }
  fuzz.end();
  std::printf("ok: %llu files, %llu refused\n", runs, refusals);
  return 0;
}

}  // namespace
}  // namespace lfm::core

int main(int count, char** arguments) {
  if (count < 3) return 2;
  const int seconds = count > 3 ? std::atoi(arguments[3]) : 10;
  const uint64_t seed = count > 4 ? std::strtoull(arguments[4], nullptr, 10) : 1;
  try {
    return lfm::core::run(arguments[1], arguments[2], seconds, seed);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fuzz_engine: %s\n", error.what());
    return 1;
  }
}
