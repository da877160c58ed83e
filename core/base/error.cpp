#include "base/error.h"

#include <vector>

#include "base/utf8.h"

namespace lfm::core {
namespace {

constexpr size_t kLongestLine = 1500;
constexpr size_t kShownOfEnd = 400;  // where a line says what was expected and what to do

// Where each character of a text begins, and last its end.
std::vector<size_t> characters(const std::string& text) {
  std::vector<size_t> begins;
  for (size_t at = 0; at < text.size(); at += decode_utf8(text, at).size) begins.push_back(at);
  begins.push_back(text.size());
  return begins;
}

}  // namespace

std::string shortened(const std::string& text) {
  if (text.size() <= kLongestLine) return text;
  const std::vector<size_t> begins = characters(text);
  const size_t count = begins.size() - 1;
  if (count <= kLongestLine) return text;
  return text.substr(0, begins[kLongestLine - kShownOfEnd]) + " ...(" +
         grouped(static_cast<long long>(count - kLongestLine)) + " characters)... " +
         text.substr(begins[count - kShownOfEnd]);
}

std::string grouped(long long number) {
  std::string digits = std::to_string(number);
  const size_t first = number < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

}  // namespace lfm::core
