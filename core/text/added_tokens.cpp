#include "text/added_tokens.h"

#include <algorithm>
#include <bitset>

#include "text/characters.h"

namespace lfm::core {
namespace {

// The tokens of one pass over a text.
class Finder {
 public:
  Finder(const Tables& tables, int pass) : tables_(tables), tokens_(tables.added(pass)) {
    for (const AddedToken& token : tokens_) firsts_.set(first_of(tables_.text(token)));
  }

  // Appends the parts of the bytes from `begin` to `end`.
  void find(std::string_view text, size_t begin, size_t end, std::vector<TextPart>& parts) const {
    const std::string_view own = text.substr(begin, end - begin);
    const Characters characters(tables_, own);
    size_t done = 0;
    for (size_t at = 0; at < own.size();) {
      const AddedToken* const token = longest_at(own, at);
      if (token == nullptr) {
        ++at;
        continue;
      }
      size_t start = at, stop = at + token->size;
      at = stop;
      if (token->flags & kSingleWord && (characters.is(characters.before(start), kInWord) ||
                                         characters.is(characters.at(stop), kInWord))) {
        continue;
      }
      if (token->flags & kStripLeft) start = without_spaces_before(characters, start, done);
      if (token->flags & kStripRight) stop = behind_spaces(characters, stop);
      if (done < start) parts.push_back({begin + done, begin + start, nullptr});
      parts.push_back({begin + start, begin + stop, token});
      done = stop;
    }
    if (done != own.size()) parts.push_back({begin + done, end, nullptr});
  }

  bool finds_nothing() const { return tokens_.size == 0; }

 private:
  static unsigned char first_of(std::string_view text) {
    return static_cast<unsigned char>(text.front());
  }

  // The longest token that `text` goes on with. The last one in order that is no greater than the
  // text begins with every other that the text begins with.
  const AddedToken* longest_at(std::string_view text, size_t at) const {
    const std::string_view rest = text.substr(at);
    if (!firsts_[first_of(rest)]) return nullptr;
    const AddedToken* const behind =
        std::upper_bound(tokens_.begin(), tokens_.end(), rest,
                         [&](std::string_view wanted, const AddedToken& token) {
                           return wanted < tables_.text(token);
                         });
    if (behind == tokens_.begin()) return nullptr;
    for (const AddedToken* token = behind - 1;; token = &tokens_[token->parent]) {
      if (rest.substr(0, token->size) == tables_.text(*token)) return token;
      if (token->parent == kNone) return nullptr;
    }
  }

  static size_t without_spaces_before(const Characters& characters, size_t at, size_t least) {
    while (at > least && characters.is(characters.before(at), kStripped)) at = characters.last(at);
    return at;
  }

  static size_t behind_spaces(const Characters& characters, size_t at) {
    while (characters.is(characters.at(at), kStripped)) at = characters.next(at);
    return at;
  }

  const Tables& tables_;
  const View<AddedToken>& tokens_;
  std::bitset<256> firsts_;
};

}  // namespace

std::vector<TextPart> parts_of(const Tables& tables, std::string_view text) {
  std::vector<TextPart> first, parts;
  Finder(tables, 0).find(text, 0, text.size(), first);
  const Finder second(tables, 1);
  if (second.finds_nothing()) return first;
  for (const TextPart& part : first) {
    if (part.token != nullptr) {
      parts.push_back(part);
    } else {
      second.find(text, part.begin, part.end, parts);
    }
  }
  return parts;
}

}  // namespace lfm::core
