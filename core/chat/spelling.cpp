#include "chat/spelling.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "chat/python_text.h"

namespace lfm::core {
namespace {

using As = Action::As;
constexpr size_t kLongestReason = 500;

Marked run(const Action& action, const Given& given);

// A string with quotes, which are the template's; what is between them is its author's.
void add_quoted(Marked& text, std::string_view quoted, Author author) {
  text.add(quoted.substr(0, 1));
  text.add(quoted.substr(1, quoted.size() - 2), author);
  text.add(quoted.substr(quoted.size() - 1));
}

void add_python(Marked& text, const Json& value, Author author) {
  if (value.is_string()) {
    add_quoted(text, python_quoted(value.string()), author);
  } else if (value.is_array()) {
    std::string_view before = "[";
    for (const Json& item : value.array()) {
      text.add(before);
      add_python(text, item, author);
      before = ", ";
    }
    text.add(value.array().empty() ? "[]" : "]");
  } else if (value.is_object()) {
    std::string_view before = "{";
    for (const Json::Member& member : value.object()) {
      text.add(before);
      add_quoted(text, python_quoted(member.first), author);
      text.add(": ");
      add_python(text, member.second, author);
      before = ", ";
    }
    text.add(value.object().empty() ? "{}" : "}");
  } else {
    text.add(python_scalar(value));
  }
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Author author) : style_(style), author_(author) {}

  void add(Marked& text, const Json& value, int depth) const {
    if (value.is_string()) {
      add_string(text, value.string());
    } else if (value.is_array()) {
      text.add("[");
      bool is_first = true;
      for (const Json& item : value.array()) {
        add_before(text, is_first, depth);
        add(text, item, depth + 1);
        is_first = false;
      }
      add_after(text, "]", is_first, depth);
    } else if (value.is_object()) {
      text.add("{");
      bool is_first = true;
      for (const Json::Member* member : members(value)) {
        add_before(text, is_first, depth);
        add_string(text, member->first);
        text.add(style_.colon);
        add(text, member->second, depth + 1);
        is_first = false;
      }
      add_after(text, "}", is_first, depth);
    } else {
      text.add(json_scalar(value));
    }
  }

 private:
  std::vector<const Json::Member*> members(const Json& value) const {
    std::vector<const Json::Member*> found;
    for (const Json::Member& member : value.object()) found.push_back(&member);
    if (style_.sorted) {  // bytes of UTF-8 sort as characters do
      std::sort(found.begin(), found.end(),
                [](const auto* one, const auto* two) { return one->first < two->first; });
    }
    return found;
  }

  void add_string(Marked& text, const std::string& value) const {
    const std::string quoted = json_string(value, style_.ascii);
    add_quoted(text, quoted, author_);
  }

  void add_line(Marked& text, int depth) const {
    text.add("\n" + std::string(static_cast<size_t>(style_.indent) * depth, ' '));
  }

  void add_before(Marked& text, bool is_first, int depth) const {
    if (!is_first) text.add(style_.comma);
    if (style_.indent >= 0) add_line(text, depth + 1);
  }

  void add_after(Marked& text, std::string_view bracket, bool is_empty, int depth) const {
    if (style_.indent >= 0 && !is_empty) add_line(text, depth);
    text.add(bracket);
  }

  const JsonStyle& style_;
  Author author_;
};

Marked each(const Action& action, const Given& given) {
  Marked text;
  size_t index = 0;
  const auto add = [&](const Json& item) {
    if (index > 0) text.add(action.separator);
    text.add(
        spell(action.item, {&item, given.author, given.where + "[" + std::to_string(index) + "]"}));
    ++index;
  };
  for (const Json& item : given.value->array()) add(item);
  for (const Json::Member& member : given.value->object()) add(Json(member.first));
  return text;
}

std::string lower(std::string text) {
  for (char& character : text) {
    if (character >= 'A' && character <= 'Z') character |= 0x20;
  }
  return text;
}

std::vector<const Json::Member*> entries_in_order(const Action& action, const Given& given) {
  std::vector<const Json::Member*> found;
  for (const Json::Member& member : given.value->object()) {
    found.push_back(&member);
    for (const char byte : member.first) {
      if (action.is_sorted && static_cast<unsigned char>(byte) >= 0x80) {
        throw Error(LFM_INVALID_REQUEST,
                    given.where + ": expected names of ASCII, which can be sorted");
      }
    }
  }
  if (action.is_sorted) {
    std::stable_sort(found.begin(), found.end(), [](const auto* one, const auto* two) {
      return lower(one->first) < lower(two->first);
    });
  }
  return found;
}

Marked entries(const Action& action, const Given& given) {
  Marked text;
  bool is_first = true;
  for (const Json::Member* member : entries_in_order(action, given)) {
    if (!is_first) text.add(action.separator);
    is_first = false;
    text.add(action.before_name);
    text.add(member->first, given.author);
    text.add(action.between);
    text.add(
        spell(action.item, {&member->second, given.author, given.where + "." + member->first}));
    text.add(action.after_value);
  }
  return text;
}

Marked typed(const Action& action, const Given& given) {
  const Json& type = (*given.value)["type"];
  const auto known = type.is_string() ? action.types.find(type.string()) : action.types.end();
  return run(known == action.types.end() ? *action.other : *known->second, given);
}

const Json* member_of(const Json& object, const std::string& name) {
  return object.has(name) ? &object[name] : nullptr;
}

Marked pieces(const Action& action, const Given& given) {
  const Json* object = given.value;
  if (!action.within.empty()) {
    const Json* inner = member_of(*object, action.within);
    if (inner == nullptr && action.other != nullptr) return run(*action.other, given);
    if (inner != nullptr && !inner->is_object()) {
      throw Error(LFM_INVALID_REQUEST, given.where + "." + action.within + ": expected an object");
    }
    if (inner != nullptr) object = inner;
  }
  Marked text;
  for (const MemberPiece& piece : action.pieces) {
    if (piece.member.empty()) {
      text.add(piece.text);
    } else {
      text.add(spell(piece.spelling, {member_of(*object, piece.member), given.author,
                                      given.where + "." + piece.member}));
    }
  }
  return text;
}

Marked written(const Action& action, const Given& given) {
  Marked text;
  const bool is_container =
      given.value != nullptr && (given.value->is_array() || given.value->is_object());
  const bool is_object = given.value != nullptr && given.value->is_object();
  switch (action.as) {
    case As::kText:
      if (given.value != nullptr && given.value->is_string()) {
        text.add(given.value->string(), given.author);
        return text;
      }
      [[fallthrough]];
    case As::kRepr:
      if (given.value != nullptr) add_python(text, *given.value, given.author);
      return text;
    case As::kJson:
      if (given.value == nullptr) break;
      JsonWriter(action.json, given.author).add(text, *given.value, 0);
      return text;
    case As::kEach:
      if (!is_container) break;
      return each(action, given);
    case As::kEntries:
      if (!is_object) break;
      return entries(action, given);
    case As::kTyped:
      if (!is_object) break;
      return typed(action, given);
    case As::kPieces:
      if (!is_object) break;
      return pieces(action, given);
    default:
      break;
  }
  damaged_format("a value of another kind than " + given.where + " has");
}

Marked trimmed(const Marked& text, const std::string& where, const std::string& characters) {
  return where.empty() ? text : text.trimmed(where != "right", where != "left", characters);
}

Marked cut(const Action& action, Marked text) {
  const std::string& marker = action.cut_behind;
  if (marker.empty() || text.text().find(marker) == std::string::npos) return text;
  size_t begin = 0, end = text.text().size();
  for (size_t at = 0; (at = text.text().find(marker, at)) != std::string::npos;) {
    at += marker.size();
    begin = at;
    if (action.cut_at_first) break;
  }
  return trimmed(text.part(begin, end), action.cut_trim, action.trim_characters);
}

Marked run(const Action& action, const Given& given) {
  if (action.as == As::kConstant) return Marked(action.constant);
  if (action.as == As::kRaise) raise(action.raised);
  Marked text(action.before);
  text.add(trimmed(cut(action, written(action, given)), action.trim, action.trim_characters));
  text.add(action.after);
  return text;
}

bool is_space(uint32_t character, std::string_view text, size_t at, size_t size) {
  return character != kInvalid &&
         Marked(text.substr(at, size)).trimmed(true, false, "").text().empty();
}

// As Python's " ".join(text.split()), and no longer than a message may be.
std::string one_line(std::string_view text) {
  std::string line;
  size_t count = 0;
  bool is_apart = false;
  for (size_t at = 0; at < text.size() && count < kLongestReason;) {
    const Decoded decoded = decode_utf8(text, at);
    if (is_space(decoded.character, text, at, decoded.size)) {
      is_apart = !line.empty();
    } else {
      if (is_apart) {
        line += ' ';
        if (++count == kLongestReason) break;
      }
      is_apart = false;
      line.append(text.substr(at, decoded.size));
      ++count;
    }
    at += decoded.size;
  }
  return line;
}

}  // namespace

void raise(const Raised& raised, std::string_view role) {
  std::string text;
  for (const auto& piece : raised.pieces) text += piece ? *piece : std::string(role);
  const std::string beginning =
      raised.is_refusal ? "the chat template refused the messages: " : "the chat template failed: ";
  throw Error(LFM_TEMPLATE, beginning + one_line(text));
}

void refuse_value(const std::string& where, const std::string& what) {
  throw Error(LFM_INVALID_REQUEST,
              where + ": got " + what + ", which the chat format has no way to write");
}

Marked spell(const Spelling& spelling, const Given& given) {
  auto action = spelling.find(kind_of(given.value));
  if (action == spelling.end()) action = spelling.find("*");
  if (action == spelling.end()) {
    refuse_value(given.where, "a " + std::string(kind_of(given.value)));
  }
  return run(*action->second, given);
}

}  // namespace lfm::core
