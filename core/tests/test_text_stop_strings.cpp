// A stop string ends the text wherever the text was cut, and no part of it gets out.
#include "check.h"
#include "text/stop_strings.h"

namespace lfm::core {
namespace {

std::string passed(const std::vector<std::string>& stops, const std::string& text, size_t piece) {
  StopFilter filter(stops);
  std::string all;
  for (size_t at = 0; at < text.size(); at += piece) all += filter.push(text.substr(at, piece));
  return all + filter.finish() + (filter.stopped() ? "|" : "");
}

void test_stops() {
  for (size_t piece = 1; piece < 12; ++piece) {
    CHECK_EQUAL(passed({"END"}, "text EEND more", piece), "text E|");
    CHECK_EQUAL(passed({"END"}, "text EN", piece), "text EN");
    CHECK_EQUAL(passed({"abcd", "bc"}, "xabcd", piece), "xa|");
    CHECK_EQUAL(passed({"d", "abcd"}, "xabcd", piece), "x|");
    CHECK_EQUAL(passed({}, "all", piece), "all");
  }
}

}  // namespace
}  // namespace lfm::core

int main() {
  lfm::core::test_stops();
  return lfm::core::failures();
}
