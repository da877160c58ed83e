// A limit to how long a model thinks before it answers.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace lfm::core {

// Says when reasoning must be closed, and with which tokens. It counts over the whole answer: a
// model that opens `<think>` again goes on where it stopped.
class ThinkingBudget {
 public:
  // `closing`: the tokens that close it, which are not counted.
  ThinkingBudget(int64_t max_tokens, std::vector<int32_t> closing)
      : left_(max_tokens), closing_(std::move(closing)) {}

  // The tokens that must come next, or none; to be asked once before each drawn token.
  std::vector<int32_t> forced(bool in_reasoning) {
    if (!in_reasoning) return {};
    if (left_ == 0) return closing_;
    --left_;
    return {};
  }

 private:
  int64_t left_;
  std::vector<int32_t> closing_;
};

}  // namespace lfm::core
