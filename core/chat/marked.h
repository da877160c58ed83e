// Text of which some bytes were written by users and tools.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace lfm::core {

enum class Author { kTemplate, kOthers };

class Marked {
 public:
  Marked() = default;
  explicit Marked(std::string_view text, Author author = Author::kTemplate) { add(text, author); }

  // LFM_TEMPLATE where the text becomes longer than any prompt may be.
  void add(std::string_view text, Author author = Author::kTemplate);
  void add(const Marked& other);

  const std::string& text() const { return text_; }
  // In order; none is empty, no two touch.
  const std::vector<Range>& theirs() const { return theirs_; }

  Marked part(size_t begin, size_t end) const;

  // Without white space, as Python's strip() has it, or without `characters`, at these ends.
  Marked trimmed(bool left, bool right, std::string_view characters) const;

 private:
  void add_theirs(size_t begin, size_t end);

  std::string text_;
  std::vector<Range> theirs_;
};

// LFM_TEMPLATE where a text has more characters than a prompt may have.
void require_prompt_length(std::string_view text);

}  // namespace lfm::core
