// Prompts made by data: every vector, and damaged formats.
#include <string>

#include "base/file.h"
#include "chat/clock.h"
#include "chat/format.h"
#include "tests/check.h"

namespace lfm::core {
namespace {

Json vectors(const std::string& folder) {
  return Json::parse(read_file(folder + "/chat_formats.json", size_t{16} << 20), "vectors");
}

Rendered rendered(const ChatFormat& format, const Json& chat) {
  return format.render(chat["messages"], chat["tools"], chat["template_options"],
                       chat["clock"].string(), chat["add_generation_prompt"].boolean());
}

Json ranges(const Rendered& made) {
  Json::Array found;
  for (const Range& range : made.theirs) {
    found.push_back(Json(Json::Array{Json(static_cast<int64_t>(range.begin)),
                                     Json(static_cast<int64_t>(range.end))}));
  }
  return Json(std::move(found));
}

LfmStatus status_of(const std::string& name) {
  return name == "TemplateError" ? LFM_TEMPLATE : LFM_INVALID_REQUEST;
}

void check_prompt(const std::string& what, const ChatFormat& format, const Json& chat,
                  const Json& expected) {
  try {
    const Rendered made = rendered(format, chat);
    if (Json(made.text) != expected["text"]) {
      fail(__FILE__, __LINE__,
           what + ": got " + Json(made.text).dump() + ", expected " + expected.dump());
    } else if (ranges(made) != expected["theirs"]) {
      fail(__FILE__, __LINE__,
           what + ": theirs: got " + ranges(made).dump() + ", expected " + expected.dump());
    }
  } catch (const Error& error) {
    if (!expected.has("error") || error.status() != status_of(expected["error"].string()) ||
        error.what() != expected["message"].string()) {
      fail(__FILE__, __LINE__, what + ": raised " + error.what() + ", expected " + expected.dump());
    }
  }
}

int check_vectors(const Json& all) {
  int count = 0;
  const Json::Array& chats = all["conversations"].array();
  for (const Json& one : all["formats"].array()) {
    const ChatFormat format(one["format"]);
    const Json::Array& prompts = one["prompts"].array();
    CHECK_EQUAL(prompts.size(), chats.size());
    for (size_t at = 0; at < prompts.size(); ++at, ++count) {
      check_prompt(one["name"].string() + " " + std::to_string(at), format, chats[at], prompts[at]);
    }
  }
  return count;
}

void check_errors(const Json& all) {
  const ChatFormat format(all["formats"].array()[0]["format"]);
  const auto error = [&](const char* messages, const char* tools, const char* options,
                         const char* clock) {
    return error_of([&] {
      format.render(Json::parse(messages, "m"), Json::parse(tools, "t"), Json::parse(options, "o"),
                    clock);
    });
  };
  const char* now = "2026-11-27T09:30:00";
  CHECK_EQUAL(error("[\"a\"]", "null", "null", now), "messages[0]: got a str, expected a mapping");
  CHECK_EQUAL(error("{}", "null", "null", now), "messages: expected a list");
  CHECK_EQUAL(error("[]", "{}", "null", now), "tools: expected a list");
  CHECK_EQUAL(error("[]", "null", "[]", now),
              "template_options: expected the template's variables by name");
  CHECK_EQUAL(error("[]", "null", "{\"self\": 1}", now),
              "template_options: 'self' cannot be set; remove it");
  CHECK_EQUAL(error("[]", "null", "{\"preserve_thinking\": 1}", now),
              "template_options: 'preserve_thinking': expected true or false");
  CHECK_EQUAL(error("[]", "null", "{\"bos_token\": \"\"}", now),
              "template_options: 'bos_token' cannot be set on a device; remove it");
  CHECK_EQUAL(error("[{\"tool_calls\": 1}]", "null", "null", now),
              "messages[0].tool_calls: expected a list of calls");
  CHECK_EQUAL(
      error("[{\"tool_calls\": [{\"function\": {\"arguments\": \"[1]\"}}]}]", "null", "null", now),
      "messages[0].tool_calls[0].function.arguments: got a list, expected an object or its "
      "JSON text");
  CHECK_EQUAL(error("[{\"role\": 3}]", "null", "null", now),
              "messages[0].role: got a int, which the chat format has no way to write");
  CHECK_EQUAL(error("[]", "null", "null", "2026-02-30T00:00:00"),
              "clock: expected a time such as 2026-11-27T09:30:00, got 2026-02-30T00:00:00");
}

void check_clock() {
  const Clock clock("2024-02-09T00:05:07");
  CHECK_EQUAL(clock.told("%A %a %B %b %d %-d %e %H %-H %I %M %S %j %p %y %Y %F %T %%"),
              "Friday Fri February Feb 09 9  9 00 0 12 05 07 040 AM 24 2024 2024-02-09 00:05:07 %");
  CHECK(!Clock::knows("%"));
  CHECK(!Clock::knows("%-"));
  CHECK(!Clock::knows("%Q"));
  CHECK(!Clock::knows("%-Y"));
}

// Each value of a format, one after the other, replaced by values that it may not be.
void check_damage(Json& value, const Json& whole, const Json& chat, int& count) {
  const Json kept = value;
  for (const Json& other : {Json(), Json(-1), Json("\xC3\xA9"), Json(Json::Array{Json(7)}),
                            Json(Json::Object{{"as", Json("each")}})}) {
    value = other;
    error_of([&] { rendered(ChatFormat(whole), chat); });
    ++count;
  }
  value = kept;
  for (Json& item : value.array()) check_damage(item, whole, chat, count);
  for (Json::Member& member : value.object()) check_damage(member.second, whole, chat, count);
}

}  // namespace
}  // namespace lfm::core

int main(int, char** arguments) {
  using namespace lfm::core;
  const Json all = vectors(arguments[1]);
  const int prompts = check_vectors(all);
  CHECK(prompts >= 300);
  check_errors(all);
  check_clock();
  Json damaged = all["formats"].array()[0]["format"];
  int damages = 0;
  check_damage(damaged, damaged, all["conversations"].array()[5], damages);
  std::printf("%d prompts, %d damaged formats\n", prompts, damages);
  return failures();
}
