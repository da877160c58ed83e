// Texts of the bundle's reader: names, Python's spelling, and what is wrong with a value and where.
#include <string>

#include "bundle/json_field.h"
#include "bundle/manifest_checks.h"
#include "bundle/python_text.h"
#include "check.h"

namespace lfm::core {
namespace {

void test_text_is_spelled_as_python_s_ascii_does() {
  CHECK_EQUAL(python_ascii("plain"), "'plain'");
  CHECK_EQUAL(python_ascii("it's"), "\"it's\"");
  CHECK_EQUAL(python_ascii("it's \"so\""), "'it\\'s \"so\"'");
  CHECK_EQUAL(python_ascii("a\n\r\t\\\x01\x7f"), "'a\\n\\r\\t\\\\\\x01\\x7f'");
  CHECK_EQUAL(python_ascii("\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80"), "'\\xe9\\u65e5\\U0001f600'");
}

void test_paths_of_plain_names() {
  CHECK(is_bundle_path("model.onnx"));
  CHECK(is_bundle_path("a/b-c/_d.e"));
  CHECK(is_bundle_path(std::string(255, 'a')));
  for (const std::string& path :
       {std::string(), std::string("/a"), std::string("a/"), std::string("a//b"),
        std::string("../a"), std::string("a/.b"), std::string("a b"), std::string("a\n"),
        std::string("a\0b", 3), std::string("\xc3\xa9"), std::string(256, 'a'),
        std::string("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q")}) {
    CHECK(!is_bundle_path(path));
  }
}

std::string reading(const std::string& text, const std::function<void(const JsonField&)>& read) {
  const Json json = Json::parse(text, "document");
  const std::string document = "document";
  return error_of([&] { read(JsonField(json, document)); });
}

void test_a_value_of_another_type_is_told_with_its_place() {
  const auto count = [](const JsonField& field) { field.integer(1); };
  const auto inner = [&](const JsonField& field) {
    field.object({{"a", [&](const JsonField& list) { list.each(count); }}});
  };
  CHECK_EQUAL(reading("{\"a\": [1, 2]}", inner), "");
  CHECK_EQUAL(reading("{\"a\": [1, 0]}", inner), "document: Expected `int` >= 1 - at `$.a[1]`");
  CHECK_EQUAL(reading("{\"a\": [1.5]}", inner),
              "document: Expected `int`, got `float` - at `$.a[0]`");
  CHECK_EQUAL(reading("{\"a\": [99999999999999999999]}", inner),
              "document: Number out of range - at `$.a[0]`");
  CHECK_EQUAL(reading("{\"b\": 1}", inner), "document: Object missing required field `a`");
  CHECK_EQUAL(reading("[]", inner), "document: Expected `object`, got `array`");
}

}  // namespace
}  // namespace lfm::core

int main() {
  lfm::core::test_text_is_spelled_as_python_s_ascii_does();
  lfm::core::test_paths_of_plain_names();
  lfm::core::test_a_value_of_another_type_is_told_with_its_place();
  return lfm::core::failures();
}
