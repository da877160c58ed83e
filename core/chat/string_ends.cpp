#include "chat/string_ends.h"

#include <algorithm>

#include "chat/characters.h"

namespace lfm::core {
namespace {

constexpr Rank kRanks[] = {kAllReads, kCallReads, kListReads};  // best first

int open_brackets(std::u32string_view text) {
  int open = 0;
  for (const char32_t c : text) {
    open += c == '(' || c == '[' || c == '{';
    open -= c == ')' || c == ']' || c == '}';
  }
  return open;
}

}  // namespace

StringEnds::StringEnds(std::u32string_view text, const ToolNames& tools)
    : text_(text),
      tools_(tools),
      syntax_(text),
      ranks_(text.size() + 2, kUnranked),
      budget_(16 * static_cast<int64_t>(text.size()) + 10000) {
  find_ends();
  rank_ends();
}

std::optional<size_t> StringEnds::string_end(const StringHead& opening, const std::string& call,
                                             const std::string& name, const Members& used) {
  const size_t first_quote = text_.find(opening.quote, opening.end);
  size_t at = opening.end, end = nearest_end(opening.quote, at, kListReads);
  int open = 0;
  while (end != kNone && budget_ > 0) {
    open += open_brackets(text_.substr(at, end - at));
    const Rank rank = ranks_[end + 1];
    const bool reads = rank == kAllReads || (rank == kCallReads && open == 0);
    if (reads && goes_on(end, first_quote, call, name, used)) return end;
    budget_ -= static_cast<int64_t>(end + 1 - at);
    at = end;
    end = nearest_end(opening.quote, end + 1, kListReads);
  }
  return nearest_plausible_end(opening);
}

// The nearest end from which most reads; or any at all, so that the error is found behind it.
std::optional<size_t> StringEnds::nearest_plausible_end(const StringHead& opening) {
  for (const Rank rank : kRanks) {
    const size_t end = nearest_end(opening.quote, opening.end, rank);
    if (end != kNone) return end;
  }
  const std::vector<size_t>& ends = quotes(opening.quote).ends;
  const auto next = std::lower_bound(ends.begin(), ends.end(), opening.end);
  return next != ends.end() && step(*next + 1) ? std::optional(*next) : std::nullopt;
}

// Whether the names behind a string's possible end are ones that can follow.
bool StringEnds::goes_on(size_t end, size_t first_quote, const std::string& call,
                         const std::string& name, const Members& used) const {
  if (end == first_quote) return true;
  const std::optional<Step> next = step(end + 1);
  if (next->argument) {
    const std::string parameter = next->parameter.empty() ? "**" : to_utf8(next->parameter);
    if (parameter == name || used.has(parameter)) return false;
    const auto tool = tools_.find(call);
    if (tool == tools_.end() || !tool->second.names) return true;
    return tool->second.names->count(parameter) > 0;
  }
  return next->call.empty() || tools_.empty() || tools_.count(to_utf8(next->call)) > 0;
}

size_t StringEnds::nearest_end(char32_t quote, size_t start, Rank rank) {
  const Quotes& found = quotes(quote);
  const auto index = std::lower_bound(found.ends.begin(), found.ends.end(), start);
  return found.nearest[rank - kListReads][static_cast<size_t>(index - found.ends.begin())];
}

void StringEnds::find_ends() {
  for (size_t at = text_.find_first_of(U"'\""); at != text_.npos;
       at = text_.find_first_of(U"'\"", at + 1)) {
    if (syntax_.closing_quote(at)) quotes(text_[at]).ends.push_back(at);
  }
  for (Quotes& found : quotes_) {
    for (std::vector<size_t>& nearest : found.nearest) nearest.assign(found.ends.size() + 1, kNone);
  }
}

// From right to left, since a rank rests on those behind it.
void StringEnds::rank_ends() {
  size_t left[2] = {quotes_[0].ends.size(), quotes_[1].ends.size()};
  const auto last = [&](int kind) {  // counted from 1, so that 0 is none
    return left[kind] > 0 ? quotes_[kind].ends[left[kind] - 1] + 1 : 0;
  };
  while (left[0] + left[1] > 0) {
    const int kind = last(1) > last(0) ? 1 : 0;
    const size_t index = --left[kind], end = quotes_[kind].ends[index];
    const Rank found = rank_behind(end + 1);
    for (const Rank rank : kRanks) {
      std::vector<size_t>& nearest = quotes_[kind].nearest[rank - kListReads];
      nearest[index] = found >= rank ? end : nearest[index + 1];
    }
  }
}

// How far the text reads on from behind a value.
Rank StringEnds::rank_behind(size_t at) {
  std::vector<std::pair<size_t, bool>> path;  // positions, and whether a call ends there
  Rank rank = kUnranked;
  while ((rank = ranks_[at]) == kUnranked) {
    const std::optional<Step> next = step(at);
    path.emplace_back(at, next && !next->call.empty());
    if (!next || (next->call.empty() && !next->argument)) {
      rank = next ? next->rank : kDead;
      break;
    }
    const Behind behind = behind_value(*next);
    rank = behind.rank;
    if (rank != kUnranked) break;
    at = behind.at;
  }
  for (auto place = path.rbegin(); place != path.rend(); ++place) {
    rank = place->second ? std::max(rank, kCallReads) : rank;
    ranks_[place->first] = rank;
  }
  return rank;
}

StringEnds::Behind StringEnds::behind_value(const Step& step) {
  size_t at = step.at;
  if (!step.call.empty()) {
    const size_t inside = syntax_.call(at)->end;
    if (syntax_.close(inside)) return {inside, kUnranked};
    const std::optional<ArgumentHead> argument = syntax_.argument(inside);
    if (!argument) return {at, kDead};
    at = argument->end;
  }
  const std::optional<StringHead> string = syntax_.string(at);
  if (!string) return behind_literal(at);
  for (const Rank rank : kRanks) {
    if (nearest_end(string->quote, string->end, rank) != kNone) return {at, rank};
  }
  return {at, kDead};
}

// Reads ahead, within bounds: what begins in different places may be read again.
StringEnds::Behind StringEnds::behind_literal(size_t at) {
  auto found = literals_.find(at);
  if (found == literals_.end()) {
    if (budget_ < 0) return {at, kDead};
    size_t reached = 0;
    try {
      Literal read = read_literal(text_, at);
      reached = read.end;
      found = literals_.emplace(at, std::move(read)).first;
    } catch (LiteralError& error) {
      reached = error.at;
      found = literals_.emplace(at, std::move(error)).first;
    }
    budget_ -= static_cast<int64_t>(reached - at);
  }
  const Literal* read = std::get_if<Literal>(&found->second);
  return read ? Behind{read->end, kUnranked} : Behind{at, kDead};
}

Literal StringEnds::literal(size_t at) const {
  const auto found = literals_.find(at);
  if (found == literals_.end()) return read_literal(text_, at);
  if (const LiteralError* error = std::get_if<LiteralError>(&found->second)) throw *error;
  return *std::get_if<Literal>(&found->second);
}

// What follows a value that ends at `at`, or nothing where none can end.
std::optional<Step> StringEnds::step(size_t at) const {
  if (const std::optional<size_t> close = syntax_.close(at)) {
    const Step next = after_call(*close);
    return !next.call.empty() || next.rank != kDead ? std::optional(next) : std::nullopt;
  }
  const std::optional<size_t> comma = syntax_.comma(at);
  const std::optional<ArgumentHead> argument = comma ? syntax_.argument(*comma) : std::nullopt;
  if (!argument) return std::nullopt;
  return Step{argument->end, true, argument->parameter};
}

Step StringEnds::after_call(size_t at) const {
  if (syntax_.end(at)) return {at, false, {}, {}, kAllReads};
  if (const std::optional<CallHead> call = syntax_.next_call(at)) {
    return {call->begin, false, {}, call->name};
  }
  return {at, false, {}, {}, syntax_.list_end(at) ? kListReads : kDead};
}

}  // namespace lfm::core
