// JSON values as the core uses them: objects keep their order, whole numbers are exact in 64 bits,
// and every other number keeps the text it was read from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lfm::core {

class Json {
 public:
  enum class Kind { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : kind_(Kind::kBool), integer_(value) {}
  Json(int value) : Json(int64_t{value}) {}
  Json(int64_t value) : kind_(Kind::kInteger), integer_(value) {}
  Json(double value);  // finite; written as Python's repr writes it
  Json(const char* value) : Json(std::string(value)) {}
  Json(std::string value) : kind_(Kind::kString), text_(std::move(value)) {}
  Json(std::string_view value) : Json(std::string(value)) {}
  Json(Array value) : kind_(Kind::kArray), array_(std::move(value)) {}
  Json(Object value) : kind_(Kind::kObject), object_(std::move(value)) {}

  // A number that is not whole, or beyond 64 bits, as JSON spells it.
  static Json of_number_text(std::string text);

  // A value of `text`, which holds nothing else. Refused: what RFC 8259 refuses (NaN too), halves
  // of surrogate pairs, invalid UTF-8, nesting beyond 200. Of members of one name the last counts,
  // at the first one's place. `what` names the text in the error, which is LFM_INVALID_REQUEST.
  static Json parse(std::string_view text, const std::string& what);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_bool() const { return kind_ == Kind::kBool; }
  bool is_integer() const { return kind_ == Kind::kInteger; }
  // Any number, whole ones and those beyond 64 bits too.
  bool is_number() const { return kind_ == Kind::kInteger || kind_ == Kind::kNumber; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_array() const { return kind_ == Kind::kArray; }
  bool is_object() const { return kind_ == Kind::kObject; }

  bool boolean() const { return integer_ != 0; }
  int64_t integer() const { return integer_; }
  double number() const;  // of a whole one too; infinite where it is too large
  const std::string& number_text() const { return text_; }  // of a kNumber, as it was read
  const std::string& string() const { return text_; }
  const Array& array() const { return array_; }
  Array& array() { return array_; }
  const Object& object() const { return object_; }
  Object& object() { return object_; }

  // The member of an object, or null where there is none or this is no object.
  const Json& operator[](std::string_view name) const;
  bool has(std::string_view name) const;
  void set(std::string_view name, Json value);  // replaces, or appends

  // Without white space; text as it is, but for what must be escaped.
  std::string dump() const;

  // Numbers are equal by value, objects whatever their order, as in Python.
  bool operator==(const Json& other) const;
  bool operator!=(const Json& other) const { return !(*this == other); }

 private:
  Kind kind_ = Kind::kNull;
  int64_t integer_ = 0;
  std::string text_;
  Array array_;
  Object object_;
};

// A string with its quotes, as JSON writes it; characters beyond ASCII as \uXXXX if `ascii`.
std::string json_string(std::string_view text, bool ascii = false);

// The shortest text that reads back as this number, as Python's repr writes it: 1.0, 1e-05, 1e+16.
std::string python_repr(double value);

}  // namespace lfm::core
