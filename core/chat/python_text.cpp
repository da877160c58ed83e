#include "chat/python_text.h"

#include <cmath>

#include "base/utf8.h"

namespace lfm::core {
namespace {

bool is_whole(const Json& value) {
  return value.is_integer() || value.number_text().find_first_of(".eE") == std::string::npos;
}

std::string whole(const Json& value) {
  return value.is_integer() ? std::to_string(value.integer()) : value.number_text();
}

void append_escape(std::string& text, uint32_t character) {
  static constexpr char digits[] = "0123456789abcdef";
  const int width = character < 0x100 ? 2 : character < 0x10000 ? 4 : 8;
  text += '\\';
  text += width == 2 ? 'x' : width == 4 ? 'u' : 'U';
  for (int shift = 4 * width - 4; shift >= 0; shift -= 4) text += digits[character >> shift & 15];
}

}  // namespace

std::string_view kind_of(const Json* value) {
  if (value == nullptr) return "missing";
  switch (value->kind()) {
    case Json::Kind::kNull:
      return "null";
    case Json::Kind::kBool:
      return "bool";
    case Json::Kind::kInteger:
      return "int";
    case Json::Kind::kNumber:
      return is_whole(*value) ? "int" : "float";
    case Json::Kind::kString:
      return "str";
    case Json::Kind::kArray:
      return "list";
    case Json::Kind::kObject:
      return "dict";
  }
  return "missing";
}

std::string type_name(const Json& value) {
  return value.is_null() ? "NoneType" : std::string(kind_of(&value));
}

bool is_truthy(const Json* value) {
  if (value == nullptr) return false;
  switch (value->kind()) {
    case Json::Kind::kNull:
      return false;
    case Json::Kind::kBool:
      return value->boolean();
    case Json::Kind::kInteger:
    case Json::Kind::kNumber:
      return value->number() != 0;
    case Json::Kind::kString:
      return !value->string().empty();
    case Json::Kind::kArray:
      return !value->array().empty();
    case Json::Kind::kObject:
      return !value->object().empty();
  }
  return false;
}

std::string python_quoted(std::string_view text) {
  const bool has_single = text.find('\'') != text.npos, has_double = text.find('"') != text.npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string quoted(1, quote);
  for (size_t at = 0; at < text.size();) {
    const Decoded decoded = decode_utf8(text, at);
    const uint32_t character = decoded.character;
    if (character == '\\' || character == static_cast<unsigned char>(quote)) {
      quoted += '\\';
      quoted += static_cast<char>(character);
    } else if (character == '\n') {
      quoted += "\\n";
    } else if (character == '\r') {
      quoted += "\\r";
    } else if (character == '\t') {
      quoted += "\\t";
    } else if (!is_printable(character)) {
      append_escape(quoted, character);
    } else {
      quoted.append(text.substr(at, decoded.size));
    }
    at += decoded.size;
  }
  return quoted + quote;
}

std::string python_scalar(const Json& value) {
  if (value.is_null()) return "None";
  if (value.is_bool()) return value.boolean() ? "True" : "False";
  return is_whole(value) ? whole(value) : python_repr(value.number());
}

std::string json_scalar(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_bool()) return value.boolean() ? "true" : "false";
  if (is_whole(value)) return whole(value);
  const double number = value.number();
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return python_repr(number);
}

}  // namespace lfm::core
