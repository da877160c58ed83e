// A JSON value at its place in a document, read as a type or refused in the words of Python's
// reader (msgspec): "Expected `int`, got `str` - at `$.model.vocab_size`".
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace lfm::core {

class JsonField {
 public:
  struct Member {
    const char* name;
    std::function<void(const JsonField&)> read;
    bool required = true;
  };

  // `document` names the whole in errors, which are LFM_BUNDLE.
  JsonField(const Json& value, const std::string& document) : JsonField(value, document, "$") {}

  const Json& value() const { return *value_; }
  bool is_null() const { return value_->is_null(); }

  int64_t integer(int64_t least) const { return whole(least, "`int`"); }
  std::optional<int64_t> optional_integer(int64_t least) const;
  // Token ids are integers of 32 bits.
  int64_t token_id() const { return id("`int`"); }
  std::optional<int64_t> optional_token_id() const;
  double number() const { return real("`float`"); }
  std::optional<double> optional_number() const;
  double number_above(double least) const;
  std::optional<bool> optional_boolean() const;
  const std::string& text() const { return string("`str`"); }
  std::optional<std::string> optional_text() const;
  // A text that `fits`; `pattern` says in regex what does.
  const std::string& text(bool (*fits)(std::string_view), const char* pattern) const;
  // One of some words; its index.
  size_t word(std::initializer_list<const char*> words) const;

  // The items of an array, in order.
  void each(const std::function<void(const JsonField&)>& read) const;
  template <class T>
  std::vector<T> list(const std::function<T(const JsonField&)>& read) const {
    std::vector<T> items;
    each([&](const JsonField& item) { items.push_back(read(item)); });
    return items;
  }
  // The members of an object, in the document's order; what is not listed is passed over.
  void object(const std::vector<Member>& members) const;
  // All members of an object, by name.
  void map(const std::function<void(const std::string&, const JsonField&)>& read) const;

  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void expected(const std::string& what) const;

 private:
  JsonField(const Json& value, const std::string& document, std::string place)
      : value_(&value), document_(&document), place_(std::move(place)) {}

  int64_t id(const char* type) const;
  int64_t whole(int64_t least, const char* type) const;
  double real(const char* type) const;
  const std::string& string(const char* type) const;
  const Json::Object& members() const;

  const Json* value_;
  const std::string* document_;
  std::string place_;
};

}  // namespace lfm::core
