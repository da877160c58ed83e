#include "chat/format_data.h"

#include "base/error.h"
#include "chat/clock.h"

namespace lfm::core {
namespace {

constexpr int64_t kVersion = 1;

template <typename Value>
Value named(const std::string& name, const std::map<std::string, Value>& values,
            const std::string& what) {
  const auto found = values.find(name);
  if (found == values.end()) damaged_format(what);
  return found->second;
}

const Json::Object& object_of(const Json& data, std::string_view name) {
  const Json& value = required(data, name);
  if (!value.is_object()) damaged_format(std::string(name));
  return value.object();
}

std::vector<std::string> texts_of(const Json& data, std::string_view name) {
  const Json& value = required(data, name);
  if (!value.is_array()) damaged_format(std::string(name));
  std::vector<std::string> texts;
  for (const Json& text : value.array()) {
    if (!text.is_string()) damaged_format(std::string(name));
    texts.push_back(text.string());
  }
  return texts;
}

std::set<std::string> set_of(const Json& data, std::string_view name) {
  const std::vector<std::string> texts = texts_of(data, name);
  return {texts.begin(), texts.end()};
}

Slot read_slot(const std::string& name, const Json& data) {
  static const std::map<std::string, Rule> rules = {{"always", Rule::kAlways},
                                                    {"after_last_user", Rule::kAfterLastUser},
                                                    {"last_of_role", Rule::kLastOfRole},
                                                    {"last_turn", Rule::kLastTurn},
                                                    {"never", Rule::kNever}};
  static const std::map<std::string, Condition> conditions = {{"", Condition::kNone},
                                                              {"given", Condition::kGiven},
                                                              {"truthy", Condition::kTruthy},
                                                              {"text", Condition::kText}};
  Slot slot;
  slot.name = name;
  slot.field = text_of(data, "field");
  slot.condition = named(text_of(data, "if"), conditions, "if");
  slot.rule = named(text_of(data, "keep", "always"), rules, "keep");
  slot.spelling = read_spelling(required(data, "spell"));
  if (data.has("past")) slot.past = read_spelling(data["past"]);
  if (data.has("empty")) slot.empty = set_of(data, "empty");
  return slot;
}

Piece read_piece(const Json& data, const BlockData& block) {
  if (data.is_string()) return {Piece::Kind::kText, data.string()};
  if (data.has("date")) {
    const std::string pattern = text_of(data, "date");
    if (!Clock::knows(pattern)) damaged_format("date");
    return {Piece::Kind::kDate, pattern};
  }
  const std::string name = text_of(data, "write");
  if (name == "role") return {Piece::Kind::kRole, name};
  for (const Slot& slot : block.slots) {
    if (slot.name == name) return {Piece::Kind::kSlot, name};
  }
  damaged_format("write");
}

Case read_case(const Json& data, const BlockData& block) {
  Case found;
  if (is_raised(data)) {
    found.raised = read_raised(data);
  } else {
    if (!data.is_array()) damaged_format("cases");
    for (const Json& piece : data.array()) found.pieces.push_back(read_piece(piece, block));
  }
  return found;
}

void require_all_cases(const BlockData& block) {
  std::vector<std::string> names = {""};
  for (const Slot& slot : block.slots) {
    if (!slot.is_flagged()) continue;
    const size_t count = names.size();
    for (size_t i = 0; i < count; ++i) {
      names.push_back(names[i].empty() ? slot.name : names[i] + "+" + slot.name);
    }
  }
  for (const std::string& name : names) {
    if (block.cases.count(name) == 0) damaged_format("cases: no " + name);
  }
}

BlockData read_block(const Json& data, const std::set<std::string>& slots) {
  BlockData block;
  for (const Json::Member& slot : object_of(data, "slots")) {
    if (slots.count(slot.first) == 0) damaged_format("slots");
    block.slots.push_back(read_slot(slot.first, slot.second));
  }
  for (const Json::Member& one : object_of(data, "cases")) {
    block.cases.emplace(one.first, read_case(one.second, block));
  }
  require_all_cases(block);
  return block;
}

Variant read_variant(const Json& data) {
  Variant variant;
  for (const Json::Member& option : object_of(data, "when")) {
    if (!option.second.is_bool()) damaged_format("when");
    variant.when.emplace(option.first, option.second.boolean());
  }
  const Json& head = required(data, "head");
  variant.takes = set_of(head, "takes");
  variant.head = read_block(head, {"system", "tools"});
  for (const Json::Member& turn : object_of(data, "turns")) {
    variant.turns.emplace(turn.first, read_block(turn.second, {"thinking", "content", "calls"}));
  }
  const Json& end = required(data, "end");
  variant.end = read_case(required(end, "generation_prompt"), {});
  variant.without_end = read_case(required(end, ""), {});
  if (data.has("no_messages")) variant.no_messages = read_raised(data["no_messages"]);
  if (data.has("most_turns")) {
    const Json& most = data["most_turns"];
    if (!most.is_integer() || most.integer() < 1) damaged_format("most_turns");
    variant.most_turns = static_cast<size_t>(most.integer());
  }
  return variant;
}

TemplateData read_template(const Json& data) {
  TemplateData found;
  found.options = set_of(data, "options");
  found.reserved = set_of(data, "reserved");
  const Json& variants = required(data, "variants");
  if (!variants.is_array()) damaged_format("variants");
  for (const Json& variant : variants.array()) found.variants.push_back(read_variant(variant));
  if (found.variants.empty() || !found.variants.back().when.empty()) damaged_format("variants");
  return found;
}

}  // namespace

ChatFormatData read_chat_format(const Json& section) {
  const Json& version = required(section, "version");
  if (version != Json(kVersion)) {
    throw Error(LFM_UNSUPPORTED_BUNDLE, "device.bin: the chat format has version " +
                                            shortened(version.dump()) + ", expected " +
                                            std::to_string(kVersion) + "; export the bundle again");
  }
  ChatFormatData data;
  for (const Json::Member& one : object_of(section, "templates")) {
    data.templates.emplace(one.first, read_template(one.second));
  }
  if (data.templates.count("default") == 0) data.names = texts_of(section, "names");
  return data;
}

}  // namespace lfm::core
