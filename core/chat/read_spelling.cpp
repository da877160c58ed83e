#include <set>

#include "base/error.h"
#include "chat/spelling.h"

namespace lfm::core {
namespace {

using As = Action::As;

std::shared_ptr<const Action> read_action(const Json& data);

const Json::Array& list_of(const Json& object, std::string_view name) {
  const Json& value = required(object, name);
  if (!value.is_array()) damaged_format(std::string(name));
  return value.array();
}

const Json::Object& members_of(const Json& value, const std::string& what) {
  if (!value.is_object()) damaged_format(what);
  return value.object();
}

As read_as(const std::string& name) {
  static const std::map<std::string, As> known = {
      {"text", As::kText},       {"repr", As::kRepr},   {"json", As::kJson},    {"each", As::kEach},
      {"entries", As::kEntries}, {"typed", As::kTyped}, {"pieces", As::kPieces}};
  const auto found = known.find(name);
  if (found == known.end()) damaged_format("as");
  return found->second;
}

JsonStyle read_json_style(const Json& data) {
  JsonStyle style;
  style.ascii = data["ascii"].boolean();
  style.sorted = data["sorted"].boolean();
  if (data.has("indent")) {
    const Json& indent = data["indent"];
    if (!indent.is_integer() || indent.integer() < 0 || indent.integer() > 16) {
      damaged_format("indent");
    }
    style.indent = static_cast<int>(indent.integer());
    style.comma = ",";
  }
  if (data.has("separators")) {
    const Json::Array& texts = list_of(data, "separators");
    if (texts.size() != 2 || !texts[0].is_string() || !texts[1].is_string()) {
      damaged_format("separators");
    }
    style.comma = texts[0].string();
    style.colon = texts[1].string();
  }
  return style;
}

MemberPiece read_piece(const Json& data) {
  MemberPiece piece;
  if (data.is_string()) {
    piece.text = data.string();
  } else {
    piece.member = text_of(data, "member");
    if (piece.member.empty()) damaged_format("member");
    piece.spelling = read_spelling(required(data, "spell"));
  }
  return piece;
}

std::string read_trim(const Json& data, std::string_view name) {
  static const std::set<std::string> known = {"", "left", "right", "both"};
  const std::string where = text_of(data, name);
  if (known.count(where) == 0) damaged_format(std::string(name));
  return where;
}

void read_changes(const Json& data, Action& action) {
  action.cut_at_first = data.has("after_first");
  action.cut_behind = text_of(data, action.cut_at_first ? "after_first" : "after_last");
  action.cut_trim = read_trim(data, "then_trim");
  action.trim = read_trim(data, "trim");
  action.trim_characters = text_of(data, "trim_characters");
  for (const char character : action.trim_characters) {
    if (static_cast<unsigned char>(character) >= 0x80) damaged_format("trim_characters");
  }
  action.before = text_of(data, "before");
  action.after = text_of(data, "after");
}

void read_contents(const Json& data, Action& action) {
  switch (action.as) {
    case As::kJson:
      action.json = read_json_style(data);
      break;
    case As::kEach:
      action.item = read_spelling(required(data, "item"));
      action.separator = text_of(data, "separator");
      break;
    case As::kEntries:
      action.item = read_spelling(required(data, "value"));
      action.separator = text_of(data, "separator");
      action.before_name = text_of(data, "before_name");
      action.between = text_of(data, "between");
      action.after_value = text_of(data, "after_value");
      action.is_sorted = text_of(data, "order") == "sorted";
      break;
    case As::kTyped:
      for (const Json::Member& type : members_of(required(data, "types"), "types")) {
        action.types.emplace(type.first, read_action(type.second));
      }
      action.other = read_action(required(data, "else"));
      break;
    case As::kPieces:
      for (const Json& piece : list_of(data, "pieces")) action.pieces.push_back(read_piece(piece));
      action.within = text_of(data, "within");
      if (!action.within.empty() && data["without"] != Json("itself")) {
        action.other = read_action(required(data, "without"));
      }
      break;
    default:
      break;
  }
}

std::shared_ptr<const Action> read_action(const Json& data) {
  auto action = std::make_shared<Action>();
  if (data.is_string()) {
    action->constant = data.string();
  } else if (is_raised(data)) {
    action->as = As::kRaise;
    action->raised = read_raised(data);
  } else {
    members_of(data, "an action");
    action->as = read_as(text_of(data, "as"));
    read_contents(data, *action);
    read_changes(data, *action);
  }
  return action;
}

}  // namespace

void damaged_format(const std::string& what) {
  throw Error(LFM_BUNDLE, "device.bin: the chat format is damaged (" + shortened(what) +
                              "); export the bundle again");
}

const Json& required(const Json& object, std::string_view name) {
  if (!object.has(name)) damaged_format(std::string(name));
  return object[name];
}

std::string text_of(const Json& object, std::string_view name, const std::string& otherwise) {
  if (!object.has(name)) return otherwise;
  const Json& value = object[name];
  if (!value.is_string()) damaged_format(std::string(name));
  return value.string();
}

bool is_raised(const Json& data) { return data.has("refuses") || data.has("fails"); }

Raised read_raised(const Json& data) {
  Raised raised;
  raised.is_refusal = data.has("refuses");
  for (const Json& piece : list_of(data, raised.is_refusal ? "refuses" : "fails")) {
    if (piece.is_string()) {
      raised.pieces.push_back(std::make_unique<std::string>(piece.string()));
    } else {
      raised.pieces.push_back(nullptr);
    }
  }
  return raised;
}

Spelling read_spelling(const Json& data) {
  Spelling spelling;
  for (const Json::Member& kind : members_of(data, "how a value is written")) {
    spelling.emplace(kind.first, read_action(kind.second));
  }
  return spelling;
}

}  // namespace lfm::core
