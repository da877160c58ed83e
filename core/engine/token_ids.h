// Lists of token ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lfm::core {

// A view of token ids.
class TokenIds {
 public:
  TokenIds(const int32_t* data, size_t size) : data_(data), size_(size) {}
  TokenIds(const std::vector<int32_t>& ids) : TokenIds(ids.data(), ids.size()) {}

  const int32_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int32_t operator[](size_t index) const { return data_[index]; }
  const int32_t* begin() const { return data_; }
  const int32_t* end() const { return data_ + size_; }
  TokenIds part(size_t begin, size_t end) const { return {data_ + begin, end - begin}; }

 private:
  const int32_t* data_;
  size_t size_;
};

// How many tokens two lists begin with alike.
size_t common(TokenIds held, TokenIds wanted);

// LFM_INVALID_REQUEST: there are none. LFM_UNKNOWN_TOKEN: one lies outside the vocabulary.
void require_ids(TokenIds ids, int64_t vocab_size);

}  // namespace lfm::core
