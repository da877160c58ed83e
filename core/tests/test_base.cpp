// Errors, JSON, UTF-8, files and hashes.
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "tests/check.h"

namespace lfm::core {
namespace {

Json read(std::string_view text) { return Json::parse(text, "text"); }

void test_json() {
  const Json value =
      read(R"( {"a": [1, -2.50, 12345678901234567890, true, null], "b": "é\ud83d\ude00\n"} )");
  CHECK_EQUAL(value["a"].array().size(), 5);
  CHECK_EQUAL(value["a"].array()[0].integer(), 1);
  CHECK_EQUAL(value["a"].array()[1].number(), -2.5);
  CHECK_EQUAL(value["a"].array()[2].number_text(), "12345678901234567890");
  CHECK_EQUAL(value["b"].string(), "é😀\n");
  CHECK(value["c"].is_null() && !value.has("c"));
  CHECK_EQUAL(value.dump(), R"({"a":[1,-2.50,12345678901234567890,true,null],"b":"é😀\n"})");
  CHECK_EQUAL(read(R"({"a": 1, "b": 2, "a": 3})").dump(), R"({"a":3,"b":2})");
  CHECK(read(R"({"a": 1, "b": [2.0]})") == read(R"({"b": [2], "a": 1e0})"));
  CHECK(read("[1]") != read("[true]") && read("\"1\"") != read("1") && read("[]") != read("{}"));
  CHECK_EQUAL(json_string("é😀\x7f\"\x01", true), "\"\\u00e9\\ud83d\\ude00\\u007f\\\"\\u0001\"");
}

void test_refused_json() {
  for (const char* text : {"",
                           "{",
                           "[1,]",
                           "{\"a\":1,}",
                           "01",
                           "1.",
                           "-",
                           "NaN",
                           "Infinity",
                           "'a'",
                           "\"a",
                           "\"\\x\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\n\"",
                           "[1] 2",
                           "{1: 2}",
                           "tru",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "1e",
                           "+1",
                           "\"\\u12g4\""}) {
    CHECK(error_of([&] { read(text); }).rfind("text: ", 0) == 0);
  }
  CHECK(error_of([] { read(std::string(100000, '[')); }).find("Nested too deeply") !=
        std::string::npos);
  for (const auto& [text, reason] : {
           std::pair{"", "Expecting value: line 1 column 1 (char 0)"},
           std::pair{"{\"é\":\n1, 2}",
                     "Expecting property name enclosed in double quotes: line 2 column 4 (char 9)"},
           std::pair{"[1 2]", "Expecting ',' delimiter: line 1 column 4 (char 3)"},
           std::pair{"{\"a\"}", "Expecting ':' delimiter: line 1 column 5 (char 4)"},
           std::pair{"01", "Extra data: line 1 column 2 (char 1)"},
           std::pair{"[\"a", "Unterminated string starting at: line 1 column 2 (char 1)"},
           std::pair{"\"\t\"", "Invalid control character at: line 1 column 2 (char 1)"},
           std::pair{"\"\\x\"", "Invalid \\escape: line 1 column 2 (char 1)"},
           std::pair{"\"\\u12", "Invalid \\uXXXX escape: line 1 column 3 (char 2)"},
           std::pair{"\"\\ud800\"", "Half of a surrogate pair: line 1 column 2 (char 1)"},
       }) {
    CHECK_EQUAL(error_of([text = text] { read(text); }), std::string("text: ") + reason);
  }
  std::string many = "{";
  for (int i = 0; i < 50000; ++i) many += "\"" + std::to_string(i % 40000) + "\":0,";
  many.back() = '}';
  CHECK_EQUAL(read(many).object().size(), 40000);
}

void test_numbers() {
  CHECK_EQUAL(python_repr(1.0), "1.0");
  CHECK_EQUAL(python_repr(-0.0), "-0.0");
  CHECK_EQUAL(python_repr(0.1), "0.1");
  CHECK_EQUAL(python_repr(123456.789), "123456.789");
  CHECK_EQUAL(python_repr(1e-4), "0.0001");
  CHECK_EQUAL(python_repr(1e-5), "1e-05");
  CHECK_EQUAL(python_repr(1e15), "1000000000000000.0");
  CHECK_EQUAL(python_repr(1.5e16), "1.5e+16");
  CHECK_EQUAL(python_repr(5e-324), "5e-324");
  CHECK_EQUAL(python_repr(-std::numeric_limits<double>::max()), "-1.7976931348623157e+308");
  CHECK_EQUAL(grouped(0), "0");
  CHECK_EQUAL(grouped(-1234567), "-1,234,567");
  CHECK_EQUAL(grouped(999), "999");
}

void test_utf8() {
  CHECK_EQUAL(replaced_utf8("a\xff"
                            "b"),
              "a\xEF\xBF\xBD"
              "b");
  CHECK_EQUAL(replaced_utf8("\xf0\x9f\x98"), "\xEF\xBF\xBD");  // one beginning, one replacement
  CHECK_EQUAL(replaced_utf8("\xe0\x80\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK_EQUAL(replaced_utf8("\xed\xa0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(is_utf8("é😀") && !is_utf8("\xf5\x80\x80\x80"));
  std::string all;
  for (const uint32_t character : {0x24u, 0xA3u, 0x20ACu, 0x10348u}) append_utf8(all, character);
  CHECK_EQUAL(all, "$£€𐍈");
  const std::string text = shortened(std::string(2000, 'x') + "é");
  CHECK(text.find(" ...(501 characters)... ") == 1100 && text.substr(text.size() - 2) == "é");
}

void test_hashes() {
  CHECK_EQUAL(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK_EQUAL(sha256_hex("abc"),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string million(1000000, 'a');
  const char* const wanted = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  CHECK_EQUAL(sha256_hex(million), wanted);
  Sha256 pieces;
  for (size_t at = 0, size = 1; at < million.size(); at += size, size = size % 200 + 1) {
    pieces.add(million.data() + at, std::min(size, million.size() - at));
  }
  CHECK_EQUAL(pieces.hex(), wanted);
}

void test_files() {
  const std::string folder = std::string(std::getenv("TMPDIR") ? std::getenv("TMPDIR") : "/tmp");
  const std::string path = folder + "/lfm_test_base_" + std::to_string(getpid());
  {
    NewFile given_up(path);
    given_up.write("x", 1);
  }
  CHECK(!is_file(path));
  NewFile file(path);
  file.write("some text", 9);
  file.finish();
  CHECK_EQUAL(read_file(path, 100), "some text");
  const MappedFile mapped(path);
  CHECK_EQUAL(mapped.bytes(), "some text");
  CHECK(error_of([&] { read_file(path, 8); }).find("has 9 bytes, expected at most 8") !=
        std::string::npos);
  unlink(path.c_str());
  CHECK(error_of([&] { MappedFile missing(path); }).find("No such file") != std::string::npos);
  CHECK(error_of([&] { MappedFile is_folder(folder); }).find("no plain file") != std::string::npos);
}

}  // namespace
}  // namespace lfm::core

int main() {
  lfm::core::test_json();
  lfm::core::test_refused_json();
  lfm::core::test_numbers();
  lfm::core::test_utf8();
  lfm::core::test_hashes();
  lfm::core::test_files();
  std::printf("SHA-256 by the CPU's instructions: %s\n",
              lfm::core::sha256_uses_the_cpu() ? "yes" : "no");
  return lfm::core::failures();
}
