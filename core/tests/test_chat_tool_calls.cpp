// tests/vectors/tool_calls.json, and what a hostile answer may cost.
#include "chat/tool_calls.h"
#include "chat/tools.h"
#include "vectors.h"

namespace lfm::core {
namespace {

void test_vectors(const std::string& folder) {
  const Json cases = read_vectors(folder, "tool_calls.json");
  for (const Json& given : cases.array()) {
    Json::Array calls;
    for (const ToolCall& call :
         parse_tool_calls(given["text"].string(), tool_names(given["tools"]))) {
      calls.push_back(as_json(call));
    }
    // As text too: arguments keep their order.
    const Json found(std::move(calls));
    if (found != given["calls"] || found.dump() != given["calls"].dump()) {
      fail(__FILE__, __LINE__, given["name"].string() + ": got " + found.dump());
    }
  }
}

std::string repeated(const std::string& text, size_t count) {
  std::string all;
  while (count-- > 0) all += text;
  return all;
}

// Takes a second, or very long where something reads a text more often than once.
void test_hostile_answers() {
  for (const char* piece : {"[f(a='",
                            "', b='",
                            "')",
                            "[[[[",
                            "{\"a\":",
                            "f(a=[",
                            "'),",
                            "f(x='a'), ",
                            "\\'",
                            "<think>",
                            "<|tool_call_start|>",
                            "<|tool_call_end|>",
                            "[f(a='x')]<|tool_call_end|>",
                            "{\"name\":\"f\",",
                            "'",
                            "\"",
                            " ",
                            "\n",
                            "}",
                            "f({",
                            "f(**{'a':1},",
                            "a='','",
                            "1_0",
                            "0x1f",
                            "<function=f>",
                            "<parameter=a>",
                            "</parameter>",
                            "<function=f><parameter=a></parameter>x",
                            "<function=f>{\"a\":\"",
                            "<tool_call>",
                            "</tool_call>",
                            "</function>",
                            "<"}) {
    const std::string text = repeated(piece, 20000);
    parse_tool_calls("<|tool_call_start|>" + text, {});
    parse_tool_calls("<|tool_call_start|>[f(a='" + text + "<|tool_call_end|>", {});
    parse_tool_calls("[f(a='" + text + "')]", {{"f", {}}});
    parse_tool_calls("<tool_call><function=f><parameter=a>" + text + "</tool_call>", {});
  }
}

void test_tools() {
  const auto refusal = [](const char* tools) {
    return error_of([&] { tool_names(Json::parse(tools, "tools")); });
  };
  CHECK_EQUAL(refusal("[{\"name\": \"f g\"}]"),
              "tool 'f g': expected a name of letters, digits, _, -, ., / and :");
  CHECK_EQUAL(refusal("[{\"name\": \"f\", \"parameters\": {\"type\": [\"a\"]}}]"),
              "tool f: parameters: got type ['a'], expected 'object'");
  CHECK_EQUAL(refusal("[{\"name\": \"f\", \"parameters\": 1}]"),
              "tool f: parameters: expected a JSON Schema");
  CHECK_EQUAL(refusal("[{\"function\": \"f\"}]"),
              "tools: expected {\"type\": \"function\", \"function\": {\"name\": ..., "
              "\"parameters\": ...}}, got {\"function\": \"f\"}");
}

}  // namespace
}  // namespace lfm::core

int main(int, char** arguments) {
  lfm::core::test_vectors(arguments[1]);
  lfm::core::test_hostile_answers();
  lfm::core::test_tools();
  return lfm::core::failures();
}
