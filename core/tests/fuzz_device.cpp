// Damages a device.bin at every place: fuzz_device FILE [seconds] [seed]. It must be refused, or
// read texts and ids without leaving its bytes. Build with LFM_OPS_SANITIZE=address,undefined.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "bundle/device_file.h"
#include "random.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace lfm::core {
namespace {

const char* const kTexts[] = {
    "", "Hello, world's 12345 numbers\n\n  and\tspaces ", "<|im_start|>user\nhi<|im_end|> <think>",
    "\u00e9\u65e5\u672c\u8a9e \U0001F469\u200D\U0001F467 \u0627\u0644\u0639\u064A\u0629",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

// A number that a reader may trip over.
uint32_t awkward(Random& random) {
  const uint32_t near = static_cast<uint32_t>(random.below(5));
  switch (random.below(5)) {
    case 0:
      return 0u - near;
    case 1:
      return near;
    case 2:
      return 0x7FFFFFFFu + near;
    case 3:
      return static_cast<uint32_t>(random.below(1 << 20));
    default:
      return 1u << random.below(32);
  }
}

// Where the fault lies: often in the heads, where most is to be broken.
size_t place(Random& random, size_t size) {
  return random.one_in(2) ? random.below(std::min<size_t>(size, 320)) : random.below(size);
}

void spoil(Random& random, std::string& bytes) {
  if (random.one_in(8)) bytes.resize(random.below(bytes.size()) + 1);
  const size_t faults = 1 + random.below(6);
  for (size_t i = 0; i < faults; ++i) {
    const size_t at = place(random, bytes.size());
    if (random.one_in(3) || bytes.size() < 8) {
      bytes[at] = static_cast<char>(random.below(256));
    } else {
      const uint32_t number = awkward(random);
      std::memcpy(&bytes[std::min(at / 4 * 4, bytes.size() - 4)], &number, sizeof(number));
    }
  }
  if (random.one_in(4)) {  // a stretch of one value
    const size_t at = random.below(bytes.size());
    const size_t size = std::min(bytes.size() - at, random.below(4096));
    std::memset(&bytes[at], random.one_in(2) ? 0xFF : 0, size);
  }
  const uint64_t size = bytes.size();
  if (size >= 24 && !random.one_in(4)) std::memcpy(&bytes[16], &size, sizeof(size));
}

void use(const Tokenizer& tokenizer, Random& random) {
  for (const char* text : kTexts) {
    tokenizer.encode(text, false);
    const std::vector<Range> theirs{{0, random.below(60)}};
    const std::vector<int32_t> ids = tokenizer.encode_prompt(text, theirs);
    tokenizer.encode(text, true);
    tokenizer.fewest(text);
    tokenizer.added_id(text);
    Detokenizer detokenizer(tokenizer);
    for (const int32_t id : ids) detokenizer.push(id);
    detokenizer.finish();
  }
  Detokenizer detokenizer(tokenizer);
  for (int i = 0; i < 100; ++i) {
    const int32_t id = static_cast<int32_t>(awkward(random));
    tokenizer.is_special(id);
    detokenizer.push(id);
  }
}

// Whether it was refused; another error than those of a bundle is a fault of ours.
bool refused(const std::string& path, Random& random) {
  try {
    const DeviceFile file(path);
    file.section("chat");
    const std::string_view section = file.section("tokenizer");
    // Beyond the end of such a copy, unlike that of a mapped file, sanitizers see every byte.
    const std::unique_ptr<void, decltype(&std::free)> copy(std::malloc(section.size()), std::free);
    if (!section.empty()) std::memcpy(copy.get(), section.data(), section.size());
    use(Tokenizer({static_cast<const char*>(copy.get()), section.size()}), random);
    return false;
  } catch (const Error& error) {
    // A damaged table of markers may make one of ordinary text.
    const bool expected = error.status() == LFM_BUNDLE ||
                          error.status() == LFM_UNSUPPORTED_BUNDLE ||
                          std::strstr(error.what(), "a user or a tool wrote") != nullptr;
    if (!expected) {
      std::printf("status %d: %s\n", error.status(), error.what());
      std::exit(1);
    }
    return true;
  }
}

int run(const char* path, int seconds, uint64_t seed) {
  const std::string whole = read_file(path, 1 << 26);
  const std::string damaged = "fuzz_device." + std::to_string(seed) + ".bin";
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint64_t runs = 0, refusals = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    Random random(seed + runs);
    std::string bytes = whole;
    spoil(random, bytes);
    std::remove(damaged.c_str());
    std::FILE* const file = std::fopen(damaged.c_str(), "wb");
    if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size()) {
      return 2;
    }
    std::fclose(file);
    refusals += refused(damaged, random) ? 1 : 0;
  }
  std::remove(damaged.c_str());
  std::printf("ok: %llu files, %llu refused\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(refusals));
  return 0;
}

}  // namespace
}  // namespace lfm::core

int main(int count, char** arguments) {
  if (count < 2) return 2;
  const int seconds = count > 2 ? std::atoi(arguments[2]) : 10;
  const uint64_t seed = count > 3 ? std::strtoull(arguments[3], nullptr, 10) : 1;
  return lfm::core::run(arguments[1], seconds, seed);
}
