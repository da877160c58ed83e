// The pieces of which calls in brackets are made: what stands at a position of a text, if it does.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace lfm::core {

struct CallHead {  // `name(`
  std::u32string_view name;
  size_t begin, end;
};

struct ArgumentHead {  // `name=`, or nothing where an object of arguments follows: f(**{..}),
                       // f({..})
  std::u32string_view parameter;
  size_t end;
};

struct StringHead {  // a quote, with a prefix or without
  char32_t prefix;   // in lower case, or 0
  char32_t quote;
  size_t end;
};

class BracketSyntax {
 public:
  explicit BracketSyntax(std::u32string_view text) : text_(text) {}

  std::optional<CallHead> call(size_t at) const;
  std::optional<ArgumentHead> argument(size_t at) const;
  std::optional<StringHead> string(size_t at) const;
  std::optional<size_t> comma(size_t at) const;  // the position behind it; so below
  std::optional<size_t> close(size_t at) const;  // `)`, a comma before it too
  bool end(size_t at) const;                     // nothing but what closes lists, up to the end
  bool list_end(size_t at) const;                // `]`
  // The call behind a call, a separator and perhaps the beginning of a further list.
  std::optional<CallHead> next_call(size_t at) const;
  // Whether behind a quote at `at` an argument can end.
  bool closing_quote(size_t at) const;

 private:
  bool stands(char32_t character, size_t at) const {
    return at < text_.size() && text_[at] == character;
  }
  bool stands_one_of(std::u32string_view characters, size_t at) const {
    return at < text_.size() && characters.find(text_[at]) != characters.npos;
  }
  size_t behind(std::u32string_view characters, size_t at) const;
  size_t behind_next_separator(size_t at) const;

  std::u32string_view text_;
};

// Where a function's name that begins at `at` ends; `at` itself where none does.
size_t function_name_end(std::u32string_view text, size_t at);

}  // namespace lfm::core
