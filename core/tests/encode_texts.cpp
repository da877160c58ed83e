// encode_texts DEVICE_FILE plain|special|prompt: reads texts from standard input, each as u32 size
// and bytes, and writes the ids of each as u32 count and i32 ids, then of their detokenizing the
// text, as u32 size and bytes. What a prompt's texts have between U+E000 and U+E001 is theirs.
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "bundle/device_file.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace lfm::core {
namespace {

const std::string kBegin = "\uE000", kEnd = "\uE001";

bool read_text(std::string& text) {
  uint32_t size;
  if (std::fread(&size, sizeof(size), 1, stdin) != 1) return false;
  text.resize(size);
  return std::fread(&text[0], 1, size, stdin) == size;
}

void write(const void* data, size_t count, size_t size) {
  const uint32_t number = static_cast<uint32_t>(count);
  std::fwrite(&number, sizeof(number), 1, stdout);
  std::fwrite(data, size, count, stdout);
}

// Takes the marks out of a text.
std::vector<Range> theirs_of(std::string& text) {
  std::vector<Range> ranges;
  for (size_t at = 0; (at = text.find(kBegin, at)) != std::string::npos;) {
    text.erase(at, kBegin.size());
    const size_t end = text.find(kEnd, at);
    text.erase(end, kEnd.size());
    ranges.push_back({at, end});
    at = end;
  }
  return ranges;
}

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, const std::string& mode,
                            std::string& text) {
  if (mode != "prompt") return tokenizer.encode(text, mode == "special");
  const std::vector<Range> theirs = theirs_of(text);
  return tokenizer.encode_prompt(text, theirs);
}

int run(const char* path, const std::string& mode) {
  const DeviceFile file(path);
  const Tokenizer tokenizer(file.section("tokenizer"));
  for (std::string text; read_text(text);) {
    const std::vector<int32_t> ids = ids_of(tokenizer, mode, text);
    write(ids.data(), ids.size(), sizeof(int32_t));
    Detokenizer detokenizer(tokenizer);
    std::string again;
    for (const int32_t id : ids) again += detokenizer.push(id);
    again += detokenizer.finish();
    write(again.data(), again.size(), 1);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace lfm::core

int main(int count, char** arguments) {
  if (count != 3) return 2;
  try {
    return lfm::core::run(arguments[1], arguments[2]);
  } catch (const lfm::core::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
