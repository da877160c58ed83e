// What kind of character one is, as Python's str and re see it, and texts as characters.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace lfm::core {

bool is_space(char32_t character);    // \s
bool is_word(char32_t character);     // \w
bool is_decimal(char32_t character);  // \d

std::u32string to_characters(std::string_view utf8);  // what is invalid as U+FFFD
std::string to_utf8(std::u32string_view characters);

std::u32string_view stripped(std::u32string_view text);  // str.strip
std::string_view right_stripped(std::string_view utf8);  // str.rstrip
std::string without_space(std::string_view utf8);        // "".join(text.split())

// As Python's repr writes the value that json.loads makes of one of JSON's.
std::string python_repr(const Json& value);

// As Python's json.dumps writes it by default: ASCII, with spaces behind commas and colons.
std::string python_json(const Json& value);

}  // namespace lfm::core
