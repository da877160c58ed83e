// tests/vectors/events.json: whole, with each token cut in two anywhere, and in single characters.
#include "base/utf8.h"
#include "chat/tools.h"
#include "vectors.h"

namespace lfm::core {
namespace {

struct Token {
  int64_t id;
  std::string text;
};

struct Case {
  Markers markers;
  ToolNames tools;
  bool in_reasoning;
  std::vector<Token> tokens;
};

Case case_of(const Json& given) {
  const Json& special = given["special_tokens"];
  Case read{Markers::of([&](std::string_view marker) {
              return special.has(marker) ? special[marker].integer() : -1;
            }),
            tool_names(given["tools"]),
            given["in_reasoning"].boolean(),
            {}};
  for (const Json& token : given["tokens"].array()) {
    read.tokens.push_back({token.array()[0].integer(), token.array()[1].string()});
  }
  return read;
}

Json events_of(const Case& given, const std::vector<Token>& tokens) {
  EventSplitter splitter(given.markers, given.tools, given.in_reasoning);
  std::vector<Event> events;
  const auto add = [&](std::vector<Event> more) {
    for (Event& event : more) events.push_back(std::move(event));
  };
  for (const Token& token : tokens) add(splitter.push(token.id, token.text));
  add(splitter.finish());
  return as_vectors(events);
}

// A token's text in two, behind its `at`th byte.
std::vector<Token> cut(std::vector<Token> tokens, size_t index, size_t at) {
  const Token whole = tokens[index];
  tokens[index] = {-1, whole.text.substr(0, at)};
  tokens.insert(tokens.begin() + static_cast<std::ptrdiff_t>(index) + 1,
                {whole.id, whole.text.substr(at)});
  return tokens;
}

std::vector<Token> in_characters(const Case& given) {
  std::vector<Token> pieces;
  for (const Token& token : given.tokens) {
    if (!given.markers.of_token(token.id).empty()) {
      pieces.push_back(token);
      continue;
    }
    for (size_t at = 0; at < token.text.size();) {
      const auto size = static_cast<size_t>(decode_utf8(token.text, at).size);
      pieces.push_back({-1, token.text.substr(at, size)});
      at += size;
    }
  }
  return pieces;
}

void test_case(const Json& given) {
  const Case read = case_of(given);
  const Json& wanted = given["events"];
  const auto check = [&](const std::vector<Token>& tokens, const char* how) {
    const Json found = events_of(read, tokens);
    if (found != wanted) {
      fail(__FILE__, __LINE__, given["name"].string() + ", " + how + ": got " + found.dump());
    }
  };
  check(read.tokens, "whole");
  check(in_characters(read), "in characters");
  for (size_t index = 0; index < read.tokens.size(); ++index) {
    const Token& token = read.tokens[index];
    if (!read.markers.of_token(token.id).empty()) continue;
    for (size_t at = 0; at < token.text.size();
         at += static_cast<size_t>(decode_utf8(token.text, at).size)) {
      check(cut(read.tokens, index, at), "cut in two");
    }
  }
}

}  // namespace
}  // namespace lfm::core

int main(int, char** arguments) {
  const lfm::core::Json cases = lfm::core::read_vectors(arguments[1], "events.json");
  for (const lfm::core::Json& given : cases.array()) lfm::core::test_case(given);
  return lfm::core::failures();
}
