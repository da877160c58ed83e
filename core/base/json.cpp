#include "base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "base/error.h"
#include "base/utf8.h"

namespace lfm::core {
namespace {

constexpr int kDeepest = 200;

// Its errors have the words and places of Python's json module, as far as that refuses the same.
class Parser {
 public:
  Parser(std::string_view text, const std::string& what) : text_(text), what_(what) {}

  Json whole() {
    if (!is_utf8(text_)) throw Error(LFM_INVALID_REQUEST, what_ + ": invalid UTF-8");
    if (take("\xEF\xBB\xBF")) fail("Unexpected UTF-8 BOM (decode using utf-8-sig)", 0);
    Json value = any(0);
    space();
    if (at_ < text_.size()) fail("Extra data", at_);
    if (half_ != kNone) fail("Half of a surrogate pair", half_);
    return value;
  }

 private:
  static constexpr size_t kNone = std::string_view::npos;

  [[noreturn]] void fail(const std::string& reason, size_t at) const {
    const std::string_view before = text_.substr(0, at);
    const size_t feed = before.rfind('\n');
    const std::string_view line = before.substr(feed == kNone ? 0 : feed + 1);
    const auto lines = std::count(before.begin(), before.end(), '\n');
    throw Error(LFM_INVALID_REQUEST, what_ + ": " + reason + ": line " + std::to_string(lines + 1) +
                                         " column " + std::to_string(characters(line) + 1) +
                                         " (char " + std::to_string(characters(before)) + ")");
  }

  static size_t characters(std::string_view text) {
    const auto begins = [](char byte) { return (byte & 0xC0) != 0x80; };
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), begins));
  }

  char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void space() {
    while (next() == ' ' || next() == '\n' || next() == '\t' || next() == '\r') ++at_;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Json any(int depth) {
    if (depth > kDeepest) fail("Nested too deeply", at_);
    space();
    switch (next()) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return Json(string());
    }
    if (take("null")) return Json();
    if (take("true")) return Json(true);
    if (take("false")) return Json(false);
    return number();
  }

  Json object(int depth) {
    Json value((Json::Object()));
    Members members;
    ++at_;
    space();
    if (take("}")) return value;
    do {
      space();
      if (next() != '"') fail("Expecting property name enclosed in double quotes", at_);
      std::string name = string();
      space();
      if (!take(":")) fail("Expecting ':' delimiter", at_);
      members.add(value, std::move(name), any(depth + 1));
      space();
    } while (take(","));
    if (!take("}")) fail("Expecting ',' delimiter", at_);
    return value;
  }

  Json array(int depth) {
    Json value((Json::Array()));
    ++at_;
    space();
    if (take("]")) return value;
    do {
      value.array().push_back(any(depth + 1));
      space();
    } while (take(","));
    if (!take("]")) fail("Expecting ',' delimiter", at_);
    return value;
  }

  bool is_digit(size_t at) const {
    return at < text_.size() && text_[at] >= '0' && text_[at] <= '9';
  }

  size_t digits_from(size_t at) const {
    while (is_digit(at)) ++at;
    return at;
  }

  // As much as is a number: of "01" the 0, of "1.e5" the 1.
  Json number() {
    const size_t begin = at_, first = begin + (next() == '-');
    if (!is_digit(first)) fail("Expecting value", begin);
    at_ = text_[first] == '0' ? first + 1 : digits_from(first);
    bool whole = true;
    if (next() == '.' && is_digit(at_ + 1)) {
      whole = false;
      at_ = digits_from(at_ + 1);
    }
    if (next() == 'e' || next() == 'E') {
      const bool is_signed =
          at_ + 1 < text_.size() && (text_[at_ + 1] == '+' || text_[at_ + 1] == '-');
      const size_t exponent = at_ + 1 + is_signed;
      if (is_digit(exponent)) {
        whole = false;
        at_ = digits_from(exponent);
      }
    }
    const std::string_view text = text_.substr(begin, at_ - begin);
    int64_t value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (whole && read.ec == std::errc()) return Json(value);
    return Json::of_number_text(std::string(text));
  }

  // The four digits behind a "u", which is the last character that was read.
  uint32_t four_digits() {
    const size_t u = at_ - 1;
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char digit = next();
      uint32_t nibble = 0;
      if (digit >= '0' && digit <= '9') {
        nibble = digit - '0';
      } else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f') {
        nibble = (digit | 0x20) - 'a' + 10;
      } else {
        fail("Invalid \\uXXXX escape", u);
      }
      value = value << 4 | nibble;
    }
    if (at_ >= text_.size()) fail("Invalid \\uXXXX escape", u);
    return value;
  }

  uint32_t escaped_character() {
    const size_t begin = at_ - 2;
    const uint32_t first = four_digits();
    if (first < 0xD800 || first > 0xDFFF) return first;
    const size_t behind = at_;
    if (first <= 0xDBFF && take("\\u")) {
      const uint32_t second = four_digits();
      if (second >= 0xDC00 && second <= 0xDFFF) {
        return 0x10000 + ((first - 0xD800) << 10 | (second - 0xDC00));
      }
      at_ = behind;
    }
    half_ = std::min(half_, begin);  // refused once all has been read
    return kReplacement;
  }

  std::string string() {
    const size_t quote = at_++;
    std::string value;
    while (true) {
      const size_t begin = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      }
      value.append(text_.substr(begin, at_ - begin));
      if (at_ >= text_.size()) fail("Unterminated string starting at", quote);
      if (take("\"")) return value;
      if (text_[at_] != '\\') fail("Invalid control character at", at_);
      const size_t escape = at_++;
      if (at_ >= text_.size()) fail("Unterminated string starting at", quote);
      const char kind = text_[at_++];
      static constexpr std::string_view kinds = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
      if (const size_t known = kinds.find(kind); known != kinds.npos) {
        value += meant[known];
      } else if (kind == 'u') {
        append_utf8(value, escaped_character());
      } else {
        fail("Invalid \\escape", escape);
      }
    }
  }

  // Appends members, or replaces those of the same name; looks names up once they are many.
  class Members {
   public:
    void add(Json& object, std::string&& name, Json&& value) {
      if (object.object().size() < kMany) return object.set(name, std::move(value));
      if (places_.empty()) {
        for (const Json::Member& member : object.object()) {
          places_.emplace(member.first, places_.size());
        }
      }
      const auto [place, is_new] = places_.emplace(name, places_.size());
      if (is_new) {
        object.object().emplace_back(std::move(name), std::move(value));
      } else {
        object.object()[place->second].second = std::move(value);
      }
    }

   private:
    static constexpr size_t kMany = 32;
    std::unordered_map<std::string, size_t> places_;
  };

  std::string_view text_;
  const std::string& what_;
  size_t at_ = 0;
  size_t half_ = kNone;  // where the first half of a surrogate pair stands
};

bool same_members(const Json::Object& one, const Json& other) {
  for (const Json::Member& member : one) {
    if (!other.has(member.first) || other[member.first] != member.second) return false;
  }
  return true;
}

void dump_into(std::string& text, const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      text += "null";
      break;
    case Json::Kind::kBool:
      text += value.boolean() ? "true" : "false";
      break;
    case Json::Kind::kInteger:
      text += std::to_string(value.integer());
      break;
    case Json::Kind::kNumber:
      text += value.number_text();
      break;
    case Json::Kind::kString:
      text += json_string(value.string());
      break;
    case Json::Kind::kArray: {
      char before = '[';
      for (const Json& item : value.array()) {
        text += before;
        dump_into(text, item);
        before = ',';
      }
      text += before == '[' ? "[]" : "]";
      break;
    }
    case Json::Kind::kObject: {
      char before = '{';
      for (const Json::Member& member : value.object()) {
        text += before;
        text += json_string(member.first);
        text += ':';
        dump_into(text, member.second);
        before = ',';
      }
      text += before == '{' ? "{}" : "}";
      break;
    }
  }
}

}  // namespace

Json::Json(double value) : kind_(Kind::kNumber), text_(python_repr(value)) {}

Json Json::of_number_text(std::string text) {
  Json value;
  value.kind_ = Kind::kNumber;
  value.text_ = std::move(text);
  return value;
}

Json Json::parse(std::string_view text, const std::string& what) {
  return Parser(text, what).whole();
}

double Json::number() const {
  return kind_ == Kind::kInteger ? static_cast<double>(integer_)
                                 : std::strtod(text_.c_str(), nullptr);
}

const Json& Json::operator[](std::string_view name) const {
  static const Json null;
  for (const Member& member : object_) {
    if (member.first == name) return member.second;
  }
  return null;
}

bool Json::has(std::string_view name) const {
  for (const Member& member : object_) {
    if (member.first == name) return true;
  }
  return false;
}

void Json::set(std::string_view name, Json value) {
  kind_ = Kind::kObject;
  for (Member& member : object_) {
    if (member.first == name) {
      member.second = std::move(value);
      return;
    }
  }
  object_.emplace_back(std::string(name), std::move(value));
}

std::string Json::dump() const {
  std::string text;
  dump_into(text, *this);
  return text;
}

bool Json::operator==(const Json& other) const {
  if (is_number() && other.is_number()) {
    if (kind_ == Kind::kInteger && other.kind_ == Kind::kInteger) return integer_ == other.integer_;
    return text_ == other.text_ ? kind_ == other.kind_ : number() == other.number();
  }
  if (kind_ != other.kind_) return false;
  if (kind_ == Kind::kObject) {
    return object_.size() == other.object_.size() && same_members(object_, other);
  }
  return integer_ == other.integer_ && text_ == other.text_ && array_ == other.array_;
}

std::string json_string(std::string_view text, bool ascii) {
  std::string quoted = "\"";
  const auto escape = [&](uint32_t unit) {
    static constexpr char digits[] = "0123456789abcdef";
    quoted += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) quoted += digits[unit >> shift & 15];
  };
  for (size_t at = 0; at < text.size();) {
    const Decoded decoded = decode_utf8(text, at);
    const uint32_t character = decoded.character;
    static constexpr std::string_view special = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
    const size_t known =
        character < 0x80 ? special.find(static_cast<char>(character)) : special.npos;
    if (known != special.npos) {
      quoted += '\\';
      quoted += letters[known];
    } else if (character < 0x20 || (ascii && character >= 0x7F && character < 0x10000)) {
      escape(character);
    } else if (ascii && character >= 0x10000 && character != kInvalid) {
      escape(0xD800 + ((character - 0x10000) >> 10));
      escape(0xDC00 + ((character - 0x10000) & 0x3FF));
    } else {
      quoted.append(text.substr(at, decoded.size));
    }
    at += decoded.size;
  }
  return quoted + '"';
}

std::string python_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];
  const auto written = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(value),
                                     std::chars_format::scientific);
  const std::string_view text(buffer, written.ptr - buffer);
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  std::string result = std::signbit(value) ? "-" : "";
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    result += digits[0];
    if (count > 1) result += "." + digits.substr(1);
    const int size = std::abs(exponent);
    return result + (exponent < 0 ? "e-" : "e+") + (size < 10 ? "0" : "") + std::to_string(size);
  }
  if (exponent < 0) return result + "0." + std::string(-exponent - 1, '0') + digits;
  if (count <= exponent + 1) return result + digits + std::string(exponent + 1 - count, '0') + ".0";
  return result + digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

}  // namespace lfm::core
