// A check that says where it failed and with what; a test's main returns lfm::core::failures().
#pragma once

#include <cstdio>
#include <functional>
#include <string>

#include "base/error.h"

namespace lfm::core {

inline int& failure_count() {
  static int count = 0;
  return count;
}

inline void fail(const char* file, int line, const std::string& what) {
  std::printf("%s:%d: %s\n", file, line, what.c_str());
  ++failure_count();
}

// What a test program returns: 0 where every check held.
inline int failures() { return failure_count() == 0 ? 0 : 1; }

// The message of the Error that `run` throws, or "" where it throws none.
inline std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace lfm::core

#define CHECK(condition) \
  if (!(condition)) lfm::core::fail(__FILE__, __LINE__, #condition)

#define CHECK_EQUAL(got, wanted)                                                          \
  do {                                                                                    \
    const auto check_got = (got);                                                         \
    const decltype(check_got) check_wanted = (wanted);                                    \
    if (!(check_got == check_wanted))                                                     \
      lfm::core::fail(__FILE__, __LINE__, std::string(#got) + ": not what was expected"); \
  } while (false)
