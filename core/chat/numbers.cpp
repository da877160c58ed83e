#include "chat/numbers.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "chat/characters.h"

namespace lfm::core {
namespace {

constexpr size_t kMostDigits = 4300;       // as many as Python reads
constexpr size_t kMostBasedDigits = 3500;  // fewer decimal ones than that, in base 16

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

int digit_of(char32_t c) {
  if (is_digit(c)) return static_cast<int>(c - '0');
  const char32_t lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? static_cast<int>(lower - 'a') + 10 : 99;
}

// The base that "0x", "0o" or "0b" names, or 10.
int base_at(std::u32string_view text, size_t at) {
  if (at + 1 >= text.size() || text[at] != '0') return 10;
  switch (text[at + 1] | 0x20) {
    case 'x':
      return 16;
    case 'o':
      return 8;
    case 'b':
      return 2;
    default:
      return 10;
  }
}

size_t behind_digits(std::u32string_view text, size_t at, bool underscores = false) {
  while (at < text.size() && (is_digit(text[at]) || (underscores && text[at] == '_'))) ++at;
  return at;
}

size_t behind_exponent(std::u32string_view text, size_t at) {
  if (at >= text.size() || (text[at] | 0x20) != 'e') return at;
  size_t digits = at + 1;
  if (digits < text.size() && (text[digits] == '+' || text[digits] == '-')) ++digits;
  const size_t end = behind_digits(text, digits);
  return end > digits ? end : at;
}

size_t behind_decimal(std::u32string_view text, size_t at) {
  size_t end = at;
  if (end < text.size() && text[end] == '.') {
    end = behind_digits(text, at + 1);
    return end > at + 1 ? behind_exponent(text, end) : at;
  }
  if (end >= text.size() || !is_digit(text[end])) return at;
  end = behind_digits(text, end, true);
  if (end < text.size() && text[end] == '.') end = behind_digits(text, end + 1, true);
  return behind_exponent(text, end);
}

size_t behind_based(std::u32string_view text, size_t at, int base) {
  size_t end = at + 2;
  while (end < text.size() && digit_of(text[end]) < base) ++end;
  return end > at + 2 ? end : at;
}

// Without underscores, each of which must stand between two digits; none where one does not.
std::optional<std::string> plain(std::u32string_view text) {
  std::string digits;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '_') {
      digits += static_cast<char>(text[at]);
    } else if (at == 0 || at + 1 == text.size() || !is_digit(text[at - 1]) ||
               !is_digit(text[at + 1])) {
      return std::nullopt;
    }
  }
  return digits;
}

std::string without_zeros(const std::string& digits) {
  const size_t first = digits.find_first_not_of('0');
  return first == std::string::npos ? "0" : digits.substr(first);
}

Json read_json(bool negative, const std::string& digits) {
  return Json::parse((negative ? "-" : "") + digits, "a number");
}

std::optional<Json> whole_value(std::u32string_view text, bool negative) {
  const std::optional<std::string> digits = plain(text);
  if (!digits || digits->size() > kMostDigits) return std::nullopt;
  const std::string significant = without_zeros(*digits);
  return significant == "0" ? Json(0) : read_json(negative, significant);
}

std::optional<Json> real_value(std::u32string_view text, bool negative) {
  const std::optional<std::string> digits = plain(text);
  if (!digits) return std::nullopt;
  const size_t exponent = std::min(digits->find_first_of("eE"), digits->size());
  const size_t point = std::min(digits->find('.'), exponent);
  std::string fraction = point < exponent ? digits->substr(point + 1, exponent - point - 1) : "";
  if (fraction.empty()) fraction = "0";
  const double value = read_json(negative, without_zeros(digits->substr(0, point)) + "." +
                                               fraction + digits->substr(exponent))
                           .number();
  if (!std::isfinite(value)) return std::nullopt;
  return Json(value);
}

// Multiplies a decimal number, its lowest nine digits first, and adds.
void multiply_add(std::vector<uint32_t>& parts, uint32_t factor, uint32_t summand) {
  uint64_t carry = summand;
  for (uint32_t& part : parts) {
    carry += uint64_t{part} * factor;
    part = static_cast<uint32_t>(carry % 1000000000);
    carry /= 1000000000;
  }
  if (carry > 0) parts.push_back(static_cast<uint32_t>(carry));
}

std::optional<Json> based_value(std::u32string_view text, bool negative, int base) {
  const std::u32string_view digits =
      text.substr(std::min(text.find_first_not_of(U'0'), text.size()));
  if (digits.size() > kMostBasedDigits) return std::nullopt;
  std::vector<uint32_t> parts;
  for (const char32_t digit : digits) {
    multiply_add(parts, static_cast<uint32_t>(base), static_cast<uint32_t>(digit_of(digit)));
  }
  if (parts.empty()) return Json(0);
  std::string decimal;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    const std::string nine = std::to_string(*part);
    decimal += std::string(9 - nine.size(), '0') + nine;
  }
  return read_json(negative, without_zeros(decimal));
}

}  // namespace

size_t number_end(std::u32string_view text, size_t at) {
  const bool has_sign = at < text.size() && (text[at] == '+' || text[at] == '-');
  const size_t begin = has_sign ? at + 1 : at;
  const int base = base_at(text, begin);
  const size_t end = base == 10 ? behind_decimal(text, begin) : behind_based(text, begin, base);
  if (end == begin) return at;
  const bool runs_on = end < text.size() && (text[end] == '.' || is_word(text[end]));
  return runs_on ? at : end;
}

std::optional<Json> number_value(std::u32string_view number) {
  const bool negative = number.front() == '-';
  if (negative || number.front() == '+') number.remove_prefix(1);
  const int base = base_at(number, 0);
  if (base != 10) return based_value(number.substr(2), negative, base);
  return number.find_first_of(U".eE") == number.npos ? whole_value(number, negative)
                                                     : real_value(number, negative);
}

}  // namespace lfm::core
