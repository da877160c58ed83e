// How a chat format writes values: its actions, read from the data and run (docs/chat_format.md).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "chat/marked.h"

namespace lfm::core {

struct Action;
// Actions by the kind of value; "*" serves all others.
using Spelling = std::map<std::string, std::shared_ptr<const Action>, std::less<>>;

// What a template raises: the beginning of its message, and pieces of which null is the role.
struct Raised {
  bool is_refusal = false;
  std::vector<std::unique_ptr<std::string>> pieces;
};

struct JsonStyle {
  bool ascii = false, sorted = false;
  int indent = -1;  // none
  std::string comma = ", ", colon = ": ";
};

// A text, or a member of an object and how it is written.
struct MemberPiece {
  std::string text, member;
  Spelling spelling;
};

struct Action {
  enum class As { kConstant, kRaise, kText, kRepr, kJson, kEach, kEntries, kTyped, kPieces };
  As as = As::kConstant;
  std::string constant;
  Raised raised;
  JsonStyle json;
  std::string separator, before_name, between, after_value;
  bool is_sorted = false;
  Spelling item;  // of a list's items, or an object's values
  std::map<std::string, std::shared_ptr<const Action>, std::less<>> types;
  std::shared_ptr<const Action> other;  // for other types; where `within` is not there
  std::string within;
  std::vector<MemberPiece> pieces;
  // What is done to the text.
  std::string cut_behind;
  bool cut_at_first = false;
  std::string cut_trim, trim, trim_characters, before, after;
};

// What an action needs to know of a value: null where there is none.
struct Given {
  const Json* value;
  Author author;
  std::string where;
};

// Read from the data; LFM_BUNDLE where it is damaged.
Spelling read_spelling(const Json& data);
Raised read_raised(const Json& data);
bool is_raised(const Json& data);

// LFM_TEMPLATE where the template raises, LFM_INVALID_REQUEST for what cannot be written.
Marked spell(const Spelling& spelling, const Given& given);
[[noreturn]] void raise(const Raised& raised, std::string_view role = "");
[[noreturn]] void refuse_value(const std::string& where, const std::string& what);

// The parts of the data: of the right type, or LFM_BUNDLE.
[[noreturn]] void damaged_format(const std::string& what);
const Json& required(const Json& object, std::string_view name);
std::string text_of(const Json& object, std::string_view name, const std::string& otherwise = "");

}  // namespace lfm::core
