#include "bundle/json_field.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lfm::core {
namespace {

bool is_whole_text(const std::string& text) {
  return text.find_first_of(".eE") == std::string::npos;
}

std::string kind_of(const Json& value) {
  switch (value.kind()) {
    case Json::Kind::kNull:
      return "`null`";
    case Json::Kind::kBool:
      return "`bool`";
    case Json::Kind::kInteger:
      return "`int`";
    case Json::Kind::kNumber:
      return is_whole_text(value.number_text()) ? "`int`" : "`float`";
    case Json::Kind::kString:
      return "`str`";
    case Json::Kind::kArray:
      return "`array`";
    case Json::Kind::kObject:
      return "`object`";
  }
  return "";
}

}  // namespace

void JsonField::fail(const std::string& what) const {
  const std::string at = place_ == "$" ? "" : " - at `" + place_ + "`";
  throw Error(LFM_BUNDLE, *document_ + ": " + what + at);
}

void JsonField::expected(const std::string& what) const {
  fail("Expected " + what + ", got " + kind_of(*value_));
}

int64_t JsonField::whole(int64_t least, const char* type) const {
  const bool beyond = value_->kind() == Json::Kind::kNumber && is_whole_text(value_->number_text());
  if (beyond && value_->number_text()[0] != '-') fail("Number out of range");
  if (!beyond && !value_->is_integer()) expected(type);
  if (beyond || value_->integer() < least) fail("Expected `int` >= " + std::to_string(least));
  return value_->integer();
}

int64_t JsonField::id(const char* type) const {
  const int64_t found = whole(0, type);
  if (found > INT32_MAX) fail("Expected `int` <= " + std::to_string(INT32_MAX));
  return found;
}

std::optional<int64_t> JsonField::optional_token_id() const {
  if (is_null()) return std::nullopt;
  return id("`int | null`");
}

std::optional<int64_t> JsonField::optional_integer(int64_t least) const {
  if (is_null()) return std::nullopt;
  return whole(least, "`int | null`");
}

double JsonField::real(const char* type) const {
  if (!value_->is_number()) expected(type);
  const double number = value_->number();
  if (!std::isfinite(number)) fail("Number out of range");
  return number;
}

std::optional<double> JsonField::optional_number() const {
  if (is_null()) return std::nullopt;
  return real("`float | null`");
}

double JsonField::number_above(double least) const {
  const double found = number();
  if (!(found > least)) fail("Expected `float` > " + python_repr(least));
  return found;
}

std::optional<bool> JsonField::optional_boolean() const {
  if (is_null()) return std::nullopt;
  if (!value_->is_bool()) expected("`bool | null`");
  return value_->boolean();
}

const std::string& JsonField::string(const char* type) const {
  if (!value_->is_string()) expected(type);
  return value_->string();
}

std::optional<std::string> JsonField::optional_text() const {
  if (is_null()) return std::nullopt;
  return string("`str | null`");
}

const std::string& JsonField::text(bool (*fits)(std::string_view), const char* pattern) const {
  const std::string& found = text();
  if (!fits(found)) fail("Expected `str` matching regex '" + std::string(pattern) + "'");
  return found;
}

size_t JsonField::word(std::initializer_list<const char*> words) const {
  const std::string& found = text();
  const auto at = std::find(words.begin(), words.end(), found);
  if (at == words.end()) fail("Invalid enum value '" + found + "'");
  return static_cast<size_t>(at - words.begin());
}

void JsonField::each(const std::function<void(const JsonField&)>& read) const {
  if (!value_->is_array()) expected("`array`");
  size_t index = 0;
  for (const Json& item : value_->array()) {
    read(JsonField(item, *document_, place_ + "[" + std::to_string(index++) + "]"));
  }
}

const Json::Object& JsonField::members() const {
  if (!value_->is_object()) expected("`object`");
  return value_->object();
}

void JsonField::object(const std::vector<Member>& known) const {
  for (const Json::Member& found : members()) {
    const auto member = std::find_if(known.begin(), known.end(),
                                     [&](const Member& one) { return one.name == found.first; });
    if (member == known.end()) continue;
    member->read(JsonField(found.second, *document_, place_ + "." + found.first));
  }
  for (const Member& member : known) {
    if (member.required && !value_->has(member.name)) {
      fail("Object missing required field `" + std::string(member.name) + "`");
    }
  }
}

void JsonField::map(const std::function<void(const std::string&, const JsonField&)>& read) const {
  for (const auto& [name, value] : members()) {
    read(name, JsonField(value, *document_, place_ + "[...]"));
  }
}

}  // namespace lfm::core
