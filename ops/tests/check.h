// A test harness in a page: TEST registers, CHECK reports and counts, main runs what matches argv.
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Registered {
  Registered(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

}  // namespace check

#define TEST(name)                                               \
  static void name();                                            \
  static const check::Registered registered_##name(#name, name); \
  static void name()

// The rest are the arguments of printf: what the case was.
#define CHECK(condition, ...)                                    \
  do {                                                           \
    if (!(condition) && ++check::failures() <= 20) {             \
      std::printf("%s:%d: %s:", __FILE__, __LINE__, #condition); \
      std::printf(" " __VA_ARGS__);                              \
      std::printf("\n");                                         \
    }                                                            \
  } while (0)

int main(int argc, char** argv) {
  for (const check::Test& test : check::tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    const int before = check::failures();
    test.run();
    std::printf("%-6s %s\n", check::failures() == before ? "ok" : "FAILED", test.name);
  }
  return check::failures() == 0 ? 0 : 1;
}
