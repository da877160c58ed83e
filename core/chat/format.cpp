#include "chat/format.h"

#include "base/error.h"
#include "chat/clock.h"
#include "chat/format_data.h"
#include "chat/messages.h"
#include "chat/python_text.h"

namespace lfm::core {
namespace {

// What a slot is given. Without a value it has one that is missing; a system message or a list of
// tools that is not there is none at all.
struct SlotValue {
  Given given;
  bool is_there;
  bool is_written_if_missing;
};

// A turn among the others, for the rules.
struct Place {
  const std::vector<const Json*>& roles;
  size_t at;
};

bool is_trusted(const std::string& role) {
  return role == "system" || role == "developer" || role == "assistant";
}

bool holds(Rule rule, const Place& place) {
  const auto same = [](const Json* one, const Json* two) {
    return one == two || (one != nullptr && two != nullptr && *one == *two);
  };
  const auto none_behind = [&](const Json* role) {
    for (size_t at = place.at + 1; at < place.roles.size(); ++at) {
      if (same(place.roles[at], role)) return false;
    }
    return true;
  };
  const Json user("user");
  const Json* role = place.roles[place.at];
  switch (rule) {
    case Rule::kAlways:
      return true;
    case Rule::kAfterLastUser:
      return !same(role, &user) && none_behind(&user);
    case Rule::kLastOfRole:
      return none_behind(role);
    case Rule::kLastTurn:
      return place.at + 1 == place.roles.size();
    case Rule::kNever:
      return false;
  }
  return false;
}

class Renderer {
 public:
  Renderer(const Variant& variant, const Clock& clock) : variant_(variant), clock_(clock) {}

  Marked render(const Json& messages, const Json& tools, bool add_generation_prompt) const {
    const Json normalized = normalized_messages(messages);
    const Json::Array& all = normalized.array();
    if (all.empty() && variant_.no_messages) raise(*variant_.no_messages);
    const Json* first = all.empty() ? nullptr : &all[0]["role"];
    const bool is_taken =
        first != nullptr && first->is_string() && variant_.takes.count(first->string()) > 0;
    Marked text = head(is_taken ? &all[0] : nullptr, tools);
    const size_t begin = is_taken ? 1 : 0;
    std::vector<const Json*> roles;
    for (size_t at = begin; at < all.size(); ++at) roles.push_back(member(all[at], "role"));
    for (size_t at = 0; at < roles.size() && at < variant_.most_turns; ++at) {
      text.add(turn(all[at + begin], {roles, at}, "messages[" + std::to_string(at + begin) + "]"));
    }
    text.add(written(add_generation_prompt ? variant_.end : variant_.without_end, {}, Marked()));
    return text;
  }

 private:
  static const Json* member(const Json& object, const std::string& name) {
    return object.has(name) ? &object[name] : nullptr;
  }

  Marked head(const Json* system, const Json& tools) const {
    static const Json nothing("");
    const std::string where = "messages[0].content";
    const Json* content = system == nullptr ? &nothing : member(*system, "content");
    if (content == nullptr) {
      for (const Slot& slot : variant_.head.slots) {
        if (slot.name == "system") spell(slot.spelling, {nullptr, Author::kTemplate, where});
      }
      content = &nothing;
    }
    const std::map<std::string, SlotValue> values = {
        {"system", {{content, Author::kTemplate, where}, system != nullptr, false}},
        {"tools", {{&tools, Author::kOthers, "tools"}, !tools.is_null(), false}}};
    return block(variant_.head, values, Marked(), nullptr);
  }

  const BlockData& turn_block(const Json* role, const std::string& where) const {
    const bool is_named = role != nullptr && role->is_string();
    auto found = variant_.turns.end();
    if (is_named) found = variant_.turns.find(role->string());
    if (is_named && found == variant_.turns.end()) found = variant_.turns.find("*");
    if (role == nullptr) found = variant_.turns.find("missing");
    if (found == variant_.turns.end()) {
      refuse_value(where + ".role", "a " + std::string(kind_of(role)));
    }
    return found->second;
  }

  Marked turn(const Json& message, const Place& place, const std::string& where) const {
    const Json* role = place.roles[place.at];
    const BlockData& data = turn_block(role, where);
    const Author author =
        role != nullptr && is_trusted(role->string()) ? Author::kTemplate : Author::kOthers;
    std::map<std::string, SlotValue> values;
    for (const Slot& slot : data.slots) {
      const std::string field = slot.name == "calls"      ? "tool_calls"
                                : slot.name == "thinking" ? slot.field
                                                          : slot.name;
      const Json* value = member(message, field);
      const Author writer = slot.name == "calls" ? Author::kOthers : author;
      values[slot.name] = {{value, writer, where + "." + field}, value != nullptr, true};
    }
    return block(data, values, Marked(role == nullptr ? "" : role->string(), author), &place);
  }

  Marked block(const BlockData& data, const std::map<std::string, SlotValue>& values,
               const Marked& role, const Place* place) const {
    std::map<std::string, Marked> texts;
    std::string name;
    for (const Slot& slot : data.slots) {
      const SlotValue& value = values.at(slot.name);
      const bool keeps = place == nullptr || holds(slot.rule, *place);
      bool is_shown = (keeps || slot.past) && meets(slot, value);
      if (is_shown && (value.is_there || value.is_written_if_missing)) {
        Marked text = spell(keeps ? slot.spelling : *slot.past, value.given);
        is_shown = slot.condition != Condition::kText || !text.text().empty();
        texts[slot.name] = std::move(text);
      }
      if (is_shown && slot.is_flagged()) name += (name.empty() ? "" : "+") + slot.name;
    }
    return written(data.cases.at(name), texts, role);
  }

  static bool meets(const Slot& slot, const SlotValue& value) {
    if (slot.condition == Condition::kNone) return true;
    const Json* given = value.given.value;
    if (value.is_there && slot.empty && !is_truthy(given) &&
        slot.empty->count(std::string(kind_of(given))) == 0) {
      refuse_value(value.given.where, "an empty " + std::string(kind_of(given)));
    }
    return value.is_there && (slot.condition == Condition::kGiven || is_truthy(given));
  }

  Marked written(const Case& data, const std::map<std::string, Marked>& texts,
                 const Marked& role) const {
    if (data.raised) raise(*data.raised, role.text());
    Marked text;
    for (const Piece& piece : data.pieces) {
      const auto slot = texts.find(piece.text);
      switch (piece.kind) {
        case Piece::Kind::kText:
          text.add(piece.text);
          break;
        case Piece::Kind::kDate:
          text.add(clock_.told(piece.text));
          break;
        case Piece::Kind::kRole:
          text.add(role);
          break;
        case Piece::Kind::kSlot:
          if (slot != texts.end()) text.add(slot->second);
          break;
      }
    }
    return text;
  }

  const Variant& variant_;
  const Clock& clock_;
};

const TemplateData& chosen_template(const ChatFormatData& data, const Json& tools) {
  auto found = data.templates.end();
  if (!tools.is_null()) found = data.templates.find("tool_use");
  if (found == data.templates.end()) found = data.templates.find("default");
  if (found != data.templates.end()) return found->second;
  std::string names;
  for (const std::string& name : data.names) names += (names.empty() ? "" : ", ") + name;
  throw Error(LFM_TEMPLATE, "the model has the chat templates " + names +
                                ", but no default one, which a chat without tools needs");
}

void check_options(const TemplateData& data, const Json& options) {
  static const std::set<std::string> own = {"self", "messages", "tools", "clock"};
  if (!options.is_null() && !options.is_object()) {
    throw Error(LFM_INVALID_REQUEST, "template_options: expected the template's variables by name");
  }
  for (const Json::Member& option : options.object()) {
    const std::string what = "template_options: " + python_quoted(option.first);
    if (own.count(option.first) > 0) {
      throw Error(LFM_INVALID_REQUEST, what + " cannot be set; remove it");
    }
    if (data.reserved.count(option.first) > 0) {
      throw Error(LFM_INVALID_REQUEST, what + " cannot be set on a device; remove it");
    }
    if (data.options.count(option.first) > 0 && !option.second.is_bool()) {
      throw Error(LFM_INVALID_REQUEST, what + ": expected true or false");
    }
  }
}

const Variant& chosen_variant(const TemplateData& data, const Json& options) {
  for (const Variant& variant : data.variants) {
    bool fits = true;
    for (const auto& [name, value] : variant.when) {
      fits = fits && options.has(name) && options[name] == Json(value);
    }
    if (fits) return variant;
  }
  return data.variants.back();
}

}  // namespace

ChatFormat::ChatFormat(const Json& section)
    : data_(std::make_shared<ChatFormatData>(read_chat_format(section))) {}

Rendered ChatFormat::render(const Json& messages, const Json& tools, const Json& template_options,
                            const std::string& clock, bool add_generation_prompt) const {
  if (!tools.is_null() && !tools.is_array()) {
    throw Error(LFM_INVALID_REQUEST, "tools: expected a list");
  }
  const TemplateData& data = chosen_template(*data_, tools);
  check_options(data, template_options);
  if (template_options.has("add_generation_prompt")) {
    add_generation_prompt = is_truthy(&template_options["add_generation_prompt"]);
  }
  const Marked text = Renderer(chosen_variant(data, template_options), Clock(clock))
                          .render(messages, tools, add_generation_prompt);
  require_prompt_length(text.text());
  if (text.text().empty()) {
    throw Error(LFM_TEMPLATE, "the chat template made an empty prompt of these messages");
  }
  return {text.text(), text.theirs()};
}

}  // namespace lfm::core
