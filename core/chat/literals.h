// Reads one Python or JSON literal out of a text, as JSON values, as lfm_edge/chat/literals.py.
//
// Accepted, mixed at will: strings in either quotes, numbers (+7, 07, 1_000, .5, 0x1f), true, True,
// null, None, lists, tuples and sets (all become lists), and objects with string, number, constant
// or bare-name keys; a comma may trail. A string takes the escapes of Python and JSON; it ends at
// the first unescaped quote that a literal can end at.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/json.h"

namespace lfm::core {

constexpr int kMaxLiteralDepth = 64;

// No literal stands there; `at` is where reading stopped.
struct LiteralError {
  std::string message;
  size_t at;
};

struct Literal {
  Json value;
  size_t end;
};

// The literal at `at`. Throws LiteralError: there is none, it does not end, or it nests too deep.
Literal read_literal(std::u32string_view text, size_t at);

// Resolves the escapes of Python and JSON; surrogate pairs join, halves become U+FFFD.
std::u32string unescaped(std::u32string_view text);

// The start of what stands at `at`, to quote in a message.
std::string excerpt(std::u32string_view text, size_t at);

// The position behind white space.
size_t behind_space(std::u32string_view text, size_t at);

// An object's members as they come: the last of a name counts, at the first one's place.
class Members {
 public:
  void set(const std::string& name, Json value);
  bool has(const std::string& name) const { return places_.count(name) > 0; }
  bool empty() const { return members_.empty(); }
  Json take() { return Json(std::move(members_)); }

 private:
  Json::Object members_;
  std::unordered_map<std::string, size_t> places_;
};

}  // namespace lfm::core
