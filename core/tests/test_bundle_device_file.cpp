#include <cstdio>
#include <cstring>
#include <string>

#include "base/file.h"
#include "bundle/device_file.h"
#include "check.h"

namespace lfm::core {
namespace {

// Writes a file and says what opening it complains of.
std::string complaint(const std::string& bytes) {
  const std::string path = "damaged_device.bin";
  NewFile file(path);
  file.write(bytes.data(), bytes.size());
  file.finish();
  return error_of([&] { DeviceFile device(path); });
}

void put(std::string& bytes, size_t at, uint64_t number) {
  std::memcpy(&bytes[at], &number, sizeof(number));
}

bool says(const std::string& message, const char* what) {
  return message.find(what) != std::string::npos;
}

void test_sections(const std::string& path) {
  const DeviceFile file(path);
  CHECK(file.has("tokenizer"));
  CHECK(!file.has("tokenize"));
  CHECK(!file.has(""));
  CHECK(file.section("nothing").empty());
  CHECK(file.section("tokenizer").size() > 1000);
  CHECK(reinterpret_cast<uintptr_t>(file.section("tokenizer").data()) % 64 == 0);
}

void test_damage(const std::string& path) {
  const std::string whole = read_file(path, 1 << 24);
  CHECK_EQUAL(complaint(whole), "");
  CHECK(says(complaint(""), "is cut off"));
  CHECK(says(complaint(whole.substr(0, 23)), "is cut off"));
  CHECK(says(complaint(whole.substr(0, whole.size() - 1)), "bytes, expected"));
  CHECK(says(complaint(whole + "x"), "bytes, expected"));
  CHECK(says(complaint("x" + whole.substr(1)), "is no device file"));
  std::string newer = whole;
  newer[8] = 9;
  CHECK(says(complaint(newer), "version 9, but this program reads version 1"));
  for (const uint64_t offset : {uint64_t{1}, uint64_t{whole.size()}, ~uint64_t{63}}) {
    std::string damaged = whole;
    put(damaged, 24 + 16, offset);
    CHECK(says(complaint(damaged), "is damaged"));
  }
  std::string large = whole;
  put(large, 24 + 24, ~uint64_t{0});
  CHECK(says(complaint(large), "is damaged"));
  std::string many = whole;
  std::memset(&many[12], 0xFF, 4);
  CHECK(says(complaint(many), "is damaged"));
  std::remove("damaged_device.bin");
}

}  // namespace
}  // namespace lfm::core

int main(int, char** arguments) {
  const std::string path = std::string(arguments[1]) + "/device.bin";
  lfm::core::test_sections(path);
  lfm::core::test_damage(path);
  return lfm::core::failures();
}
