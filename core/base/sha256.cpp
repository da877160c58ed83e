#include "base/sha256.h"

#include <algorithm>
#include <cstring>

#include "base/sha256_blocks.h"

namespace lfm::core {
namespace {

constexpr uint32_t kStart[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

uint32_t rotated(uint32_t value, int by) { return value >> by | value << (32 - by); }

void plain_blocks(uint32_t state[8], const unsigned char* data, size_t count) {
  for (; count > 0; --count, data += 64) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i) {
      w[i] = uint32_t{data[4 * i]} << 24 | uint32_t{data[4 * i + 1]} << 16 |
             uint32_t{data[4 * i + 2]} << 8 | data[4 * i + 3];
    }
    for (int i = 16; i < 64; ++i) {
      const uint32_t s0 = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ w[i - 15] >> 3;
      const uint32_t s1 = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ w[i - 2] >> 10;
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t v[8];
    std::memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; ++i) {
      const uint32_t s1 = rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25);
      const uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
      const uint32_t one = v[7] + s1 + choice + kSha256Rounds[i] + w[i];
      const uint32_t s0 = rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22);
      const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      std::memmove(v + 1, v, 7 * sizeof *v);
      v[4] += one;
      v[0] = one + s0 + majority;
    }
    for (int i = 0; i < 8; ++i) state[i] += v[i];
  }
}

Sha256Blocks blocks() {
  static const Sha256Blocks native = native_sha256_blocks();
  return native != nullptr ? native : plain_blocks;
}

}  // namespace

Sha256::Sha256() { std::memcpy(state_, kStart, sizeof state_); }

void Sha256::add(const void* data, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  const size_t held = size_ % 64;
  size_ += size;
  if (held > 0) {
    const size_t taken = std::min(size, 64 - held);
    std::memcpy(block_ + held, bytes, taken);
    if (held + taken < 64) return;
    blocks()(state_, block_, 1);
    bytes += taken;
    size -= taken;
  }
  blocks()(state_, bytes, size / 64);
  if (size % 64 > 0) std::memcpy(block_, bytes + size / 64 * 64, size % 64);
}

std::string Sha256::hex() {
  const uint64_t bits = size_ * 8;
  unsigned char end[72] = {0x80};
  const size_t zeros = (119 - size_ % 64) % 64;  // up to 8 bytes before a block's end
  for (int i = 0; i < 8; ++i) {
    end[1 + zeros + i] = static_cast<unsigned char>(bits >> (56 - 8 * i));
  }
  add(end, 1 + zeros + 8);
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) text += digits[word >> shift & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.hex();
}

bool sha256_uses_the_cpu() { return blocks() != plain_blocks; }

}  // namespace lfm::core
