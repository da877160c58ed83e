#include "chat/clock.h"

#include <algorithm>

#include "base/error.h"

namespace lfm::core {
namespace {

constexpr const char* kMonths[] = {"January",   "February", "March",    "April",
                                   "May",       "June",     "July",     "August",
                                   "September", "October",  "November", "December"};
constexpr const char* kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                 "Thursday", "Friday", "Saturday"};
constexpr std::string_view kDirectives = "YmdHMSyjBbAaIpFTe%";
constexpr std::string_view kUnpadded = "mdHMSjI";

bool is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

int days_of(int year, int month) {
  if (month == 2) return is_leap(year) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

// 0: Sunday (Sakamoto's method).
int weekday(int year, int month, int day) {
  static constexpr int shifts[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
  if (month < 3) --year;
  return (year + year / 4 - year / 100 + year / 400 + shifts[month - 1] + day) % 7;
}

std::string padded(int number, size_t width, char with = '0') {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < width ? width - digits.size() : 0, with) + digits;
}

// The digits of `text` at `begin`; -1 where other characters are among them.
int digits(std::string_view text, size_t begin, size_t count) {
  int number = 0;
  for (const char digit : text.substr(begin, count)) {
    if (digit < '0' || digit > '9') return -1;
    number = 10 * number + (digit - '0');
  }
  return number;
}

}  // namespace

Clock::Clock(std::string_view text) {
  const bool is_long = text.size() == 19 && text[4] == '-' && text[7] == '-' && text[10] == 'T' &&
                       text[13] == ':' && text[16] == ':';
  year_ = is_long ? digits(text, 0, 4) : -1;
  month_ = is_long ? digits(text, 5, 2) : -1;
  day_ = is_long ? digits(text, 8, 2) : -1;
  hour_ = is_long ? digits(text, 11, 2) : -1;
  minute_ = is_long ? digits(text, 14, 2) : -1;
  second_ = is_long ? digits(text, 17, 2) : -1;
  if (year_ < 1 || month_ < 1 || month_ > 12 || day_ < 1 || day_ > days_of(year_, month_) ||
      hour_ < 0 || hour_ > 23 || minute_ < 0 || minute_ > 59 || second_ < 0 || second_ > 59) {
    throw Error(LFM_INVALID_REQUEST, "clock: expected a time such as 2026-11-27T09:30:00, got " +
                                         shortened(std::string(text)));
  }
}

bool Clock::knows(std::string_view pattern) {
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] != '%') continue;
    if (++at == pattern.size()) return false;
    const bool is_unpadded = pattern[at] == '-';
    if (is_unpadded && ++at == pattern.size()) return false;
    if ((is_unpadded ? kUnpadded : kDirectives).find(pattern[at]) == kUnpadded.npos) return false;
  }
  return true;
}

std::string Clock::told(std::string_view pattern) const {
  std::string text;
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (pattern[at] != '%') {
      text += pattern[at];
    } else if (pattern[++at] == '-') {
      const std::string number = field(pattern[++at]);
      text += number.substr(std::min(number.find_first_not_of('0'), number.size() - 1));
    } else {
      text += field(pattern[at]);
    }
  }
  return text;
}

std::string Clock::field(char directive) const {
  switch (directive) {
    case 'Y':
      return std::to_string(year_);
    case 'y':
      return padded(year_ % 100, 2);
    case 'm':
      return padded(month_, 2);
    case 'B':
      return kMonths[month_ - 1];
    case 'b':
      return std::string(kMonths[month_ - 1], 3);
    case 'd':
      return padded(day_, 2);
    case 'e':
      return padded(day_, 2, ' ');
    case 'A':
      return kDays[weekday(year_, month_, day_)];
    case 'a':
      return std::string(kDays[weekday(year_, month_, day_)], 3);
    case 'H':
      return padded(hour_, 2);
    case 'I':
      return padded(hour_ % 12 == 0 ? 12 : hour_ % 12, 2);
    case 'p':
      return hour_ < 12 ? "AM" : "PM";
    case 'M':
      return padded(minute_, 2);
    case 'S':
      return padded(second_, 2);
    case 'F':
      return told("%Y-%m-%d");
    case 'T':
      return told("%H:%M:%S");
    case 'j': {
      int day = day_;
      for (int month = 1; month < month_; ++month) day += days_of(year_, month);
      return padded(day, 3);
    }
    default:
      return "%";
  }
}

}  // namespace lfm::core
