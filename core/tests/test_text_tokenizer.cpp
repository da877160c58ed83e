#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "bundle/device_file.h"
#include "check.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace lfm::core {
namespace {

using Ids = std::vector<int32_t>;

Ids ids_of(const Json& list) {
  Ids ids;
  for (const Json& id : list.array()) ids.push_back(static_cast<int32_t>(id.integer()));
  return ids;
}

void test_vectors(const Tokenizer& tokenizer, const std::string& folder) {
  const std::string path = folder + "/tokenization.json";
  const Json cases = Json::parse(read_file(path, 1 << 24), path);
  CHECK(cases.array().size() > 300);
  for (const Json& one : cases.array()) {
    const std::string& text = one["text"].string();
    const Ids ids = tokenizer.encode_prompt(text, {});
    if (ids != ids_of(one["ids"])) fail(__FILE__, __LINE__, "ids of " + json_string(text, true));
    Detokenizer detokenizer(tokenizer);
    Json::Array pieces;
    for (const int32_t id : ids) pieces.push_back(detokenizer.push(id));
    pieces.push_back(detokenizer.finish());
    CHECK_EQUAL(Json(pieces), one["pieces"]);
  }
}

void test_added_tokens(const Tokenizer& tokenizer) {
  const std::string text = "a<|im_end|>b";
  const int32_t end = tokenizer.added_id("<|im_end|>");
  CHECK(tokenizer.is_special(end) && tokenizer.is_added(end) && tokenizer.knows(end));
  CHECK_EQUAL(tokenizer.bytes(end), "<|im_end|>");
  CHECK_EQUAL(tokenizer.added_id("<|im_end|"), -1);
  CHECK_EQUAL(tokenizer.added_id("a"), -1);
  const Ids found = tokenizer.encode_prompt(text, {});
  CHECK_EQUAL(found.size(), size_t{3});
  CHECK_EQUAL(found[1], end);
  const Ids spelled = tokenizer.encode_prompt(text, {{1, 2}});
  CHECK(spelled.size() > 3);
  // An added token parts the text around it, spelled out or not.
  const Ids ordinary = tokenizer.encode("<|im_end|>", false);
  Ids expected{found[0]};
  expected.insert(expected.end(), ordinary.begin(), ordinary.end());
  expected.push_back(found[2]);
  CHECK_EQUAL(spelled, expected);
  CHECK_EQUAL(tokenizer.encode_prompt(text, {{0, 1}, {2, 99}}), found);
  Ids with_prefix = tokenizer.encode(text, true);
  CHECK_EQUAL(with_prefix[0], tokenizer.added_id("<|startoftext|>"));
  with_prefix.erase(with_prefix.begin());
  CHECK_EQUAL(with_prefix, found);
}

void test_unknown_ids(const Tokenizer& tokenizer) {
  const int32_t size = tokenizer.size();
  CHECK_EQUAL(size, 4096);
  for (const int32_t id : {-1, size, 0x7FFFFFFF}) {
    CHECK(!tokenizer.knows(id) && !tokenizer.is_special(id));
    CHECK_EQUAL(tokenizer.bytes(id), "");
    Detokenizer detokenizer(tokenizer);
    CHECK_EQUAL(detokenizer.push(id), "<|" + std::to_string(id) + "|>");
  }
}

void test_unfinished_characters(const Tokenizer& tokenizer) {
  Detokenizer detokenizer(tokenizer, {tokenizer.added_id("<|im_end|>")});
  const Ids ids = tokenizer.encode("\u00fc\U0001F30D", false);
  std::string text;
  for (const int32_t id : ids) {
    text += detokenizer.push(id);
    CHECK_EQUAL(detokenizer.push(tokenizer.added_id("<|im_end|>")), "");
    CHECK(is_utf8(text));
  }
  CHECK_EQUAL(text, "\u00fc\U0001F30D");
  CHECK_EQUAL(detokenizer.finish(), "");
  detokenizer.push(ids[0]);
  CHECK_EQUAL(detokenizer.push(tokenizer.encode("a", false)[0]), "\uFFFDa");
  detokenizer.push(ids[0]);
  CHECK_EQUAL(detokenizer.finish(), "\uFFFD");
  CHECK_EQUAL(detokenizer.finish(), "");
}

void test_texts_that_are_none(const Tokenizer& tokenizer) {
  for (const char* text : {"a\xff", "\xc3", "\xed\xa0\x80", "ab\xe2\x82"}) {
    const std::string message = error_of([&] { tokenizer.encode(text, true); });
    CHECK(message.find("the text is not valid Unicode: no UTF-8 at byte") == 0);
  }
  CHECK_EQUAL(tokenizer.encode("", false), Ids());
  CHECK_EQUAL(tokenizer.encode("", true).size(), size_t{1});
  CHECK_EQUAL(tokenizer.fewest(""), int64_t{0});
  CHECK(tokenizer.fewest(std::string(1000, 'x')) > 0);
}

// What takes time that grows with the square of a text's length would not end.
void test_long_runs(const Tokenizer& tokenizer) {
  for (const char* part : {"a", " ", "ab", "\n", "!", "7", "\u00e9", "<|", "'s"}) {
    std::string text;
    while (text.size() < 300000) text += part;
    const Ids ids = tokenizer.encode(text, false);
    std::string again;
    for (const int32_t id : ids) again += tokenizer.bytes(id);
    CHECK(again == text);
  }
}

void test_damage(std::string_view whole) {
  std::vector<uint64_t> aligned(whole.size() / 8 + 2);
  char* const data = reinterpret_cast<char*>(aligned.data());
  std::copy(whole.begin(), whole.end(), data);
  const std::string_view section(data, whole.size());
  CHECK_EQUAL(error_of([&] { Tokenizer tokenizer(section); }), "");
  for (size_t size = 0; size < 300; ++size) {
    CHECK(error_of([&] { Tokenizer cut(section.substr(0, size)); }) != "");
  }
  CHECK(error_of([&] { Tokenizer shifted(section.substr(1)); }).find("not aligned") !=
        std::string::npos);
  uint32_t place[2];  // of the classes of characters, in which all bits are set
  std::memcpy(place, data + 32 + 7 * sizeof(place), sizeof(place));
  std::memset(data + place[0], 0xFF, place[1]);
  CHECK(!Tokenizer(section).encode("a 1!\u00e9", false).empty());  // and comes to an end
  data[0] = 2;
  CHECK_EQUAL(error_of([&] { Tokenizer newer(section); }),
              "the tokenizer's tables have version 2, but this program reads version 1");
}

}  // namespace
}  // namespace lfm::core

int main(int, char** arguments) {
  using namespace lfm::core;
  const std::string folder = arguments[1];
  const DeviceFile file(folder + "/device.bin");
  const Tokenizer tokenizer(file.section("tokenizer"));
  test_vectors(tokenizer, folder);
  test_added_tokens(tokenizer);
  test_unknown_ids(tokenizer);
  test_unfinished_characters(tokenizer);
  test_texts_that_are_none(tokenizer);
  test_long_runs(tokenizer);
  test_damage(file.section("tokenizer"));
  return failures();
}
