// Loops are found where a passage stands over and over, and nowhere else.
#include "chat/loops.h"
#include "check.h"

namespace lfm::core {
namespace {

// After how many tokens, of which number i is `token(i)`, a loop is found; -1 if in 5,000 none is.
int found_after(const std::function<int32_t(int)>& token) {
  LoopDetector loops;
  for (int i = 0; i < 5000; ++i) {
    if (loops.push(token(i))) return i + 1;
  }
  return -1;
}

void test_loops() {
  CHECK_EQUAL(found_after([](int) { return 7; }), 256);
  CHECK_EQUAL(found_after([](int i) { return i % 10; }), 256);
  CHECK_EQUAL(found_after([](int i) { return i % 200; }), 800);
  CHECK_EQUAL(found_after([](int i) { return i < 100 ? 1000 + i : i % 512; }), 100 + 2048);
  CHECK_EQUAL(found_after([](int i) { return i % 513; }), -1);
  CHECK_EQUAL(found_after([](int i) { return i % 8 == 7 ? 1000 + i : i % 8; }), -1);
}

}  // namespace
}  // namespace lfm::core

int main() {
  lfm::core::test_loops();
  return lfm::core::failures();
}
