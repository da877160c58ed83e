// Where the strings of calls in brackets end: for each quote that may end one, how far the text
// reads on from behind it. See bracket_calls.h.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <variant>
#include <vector>

#include "chat/bracket_syntax.h"
#include "chat/calls.h"
#include "chat/literals.h"

namespace lfm::core {

// How far the text reads on from behind a value: not to the end of its call; to a list's end, with
// other text behind; to the end of its call and a next one; or to the end of the text.
enum Rank : signed char { kUnranked = -1, kDead, kListReads, kCallReads, kAllReads };

// What follows a value: the next argument, the next call, or the end.
struct Step {
  size_t at;                        // where the argument's value begins, or the call
  bool argument = false;            // whether an argument follows
  std::u32string_view parameter{};  // its name; empty for an object of arguments
  std::u32string_view call{};
  Rank rank = kDead;  // of an end: kAllReads at the end of the text, kListReads before other text
};

class StringEnds {
 public:
  StringEnds(std::u32string_view text, const ToolNames& tools);

  // The position of the quote that ends a string of this parameter, if one does.
  std::optional<size_t> string_end(const StringHead& opening, const std::string& call,
                                   const std::string& name, const Members& used);

  Step after_call(size_t at) const;

  // As read_literal; what was read ahead is not read again.
  Literal literal(size_t at) const;

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  // The quotes of one kind that may end a string, and for each rank from kListReads on: from each
  // of them on, the nearest one of at least this rank, or kNone.
  struct Quotes {
    std::vector<size_t> ends;
    std::vector<size_t> nearest[3];
  };

  struct Behind {  // a position behind a value, or the rank of one whose rank is known
    size_t at;
    Rank rank;
  };

  Quotes& quotes(char32_t quote) { return quotes_[quote == '"']; }
  size_t nearest_end(char32_t quote, size_t start, Rank rank);
  std::optional<size_t> nearest_plausible_end(const StringHead& opening);
  bool goes_on(size_t end, size_t first_quote, const std::string& call, const std::string& name,
               const Members& used) const;
  void find_ends();
  void rank_ends();
  Rank rank_behind(size_t at);
  std::optional<Step> step(size_t at) const;
  Behind behind_value(const Step& step);
  Behind behind_literal(size_t at);

  std::u32string_view text_;
  const ToolNames& tools_;
  BracketSyntax syntax_;
  Quotes quotes_[2];
  std::vector<Rank> ranks_;  // by position behind a value
  std::unordered_map<size_t, std::variant<Literal, LiteralError>> literals_;
  int64_t budget_;
};

}  // namespace lfm::core
