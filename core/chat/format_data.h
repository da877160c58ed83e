// A chat format, read: templates, their variants, and the blocks that these consist of.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "chat/spelling.h"

namespace lfm::core {

// Which turns keep what was thought.
enum class Rule { kAlways, kAfterLastUser, kLastOfRole, kLastTurn, kNever };
// When a slot is written.
enum class Condition { kNone, kGiven, kTruthy, kText };

struct Slot {
  std::string name, field;
  Condition condition = Condition::kNone;
  Rule rule = Rule::kAlways;
  Spelling spelling;
  std::optional<Spelling> past;                // where the rule does not hold; none: not written
  std::optional<std::set<std::string>> empty;  // kinds that may be empty; none: all

  // Whether there are cases with it and without.
  bool is_flagged() const {
    return condition != Condition::kNone || (rule != Rule::kAlways && !past);
  }
};

// What a block writes: pieces, or an error.
struct Piece {
  enum class Kind { kText, kDate, kRole, kSlot };
  Kind kind;
  std::string text;  // the text, the date's pattern or the slot's name
};

struct Case {
  std::vector<Piece> pieces;
  std::optional<Raised> raised;
};

struct BlockData {
  std::vector<Slot> slots;
  std::map<std::string, Case> cases;  // by the names of the flagged slots that are written
};

struct Variant {
  std::map<std::string, bool> when;
  std::set<std::string> takes;  // roles of a first message that the head writes
  BlockData head;
  std::map<std::string, BlockData> turns;
  Case end, without_end;
  std::optional<Raised> no_messages;
  size_t most_turns = SIZE_MAX;
};

struct TemplateData {
  std::set<std::string> options, reserved;
  std::vector<Variant> variants;
};

struct ChatFormatData {
  std::map<std::string, TemplateData> templates;
  std::vector<std::string> names;  // of all templates, where none is the default one
};

// LFM_BUNDLE where the data is damaged.
ChatFormatData read_chat_format(const Json& section);

}  // namespace lfm::core
