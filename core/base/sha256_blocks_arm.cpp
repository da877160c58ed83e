// Compiled for ARM's extension of it (CMakeLists.txt), without which Clang hides the intrinsics.
#include "base/sha256_blocks.h"

#if defined(__ARM_FEATURE_SHA2) || defined(__ARM_FEATURE_CRYPTO)

#include <arm_neon.h>

namespace lfm::core {
namespace {

void arm_blocks(uint32_t state[8], const unsigned char* data, size_t count) {
  uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
  for (; count > 0; --count, data += 64) {
    const uint32x4_t abcd_before = abcd, efgh_before = efgh;
    uint32x4_t w[4];
    for (int i = 0; i < 4; ++i) {
      w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
    }
    for (int i = 0; i < 16; ++i) {
      const uint32x4_t sum = vaddq_u32(w[0], vld1q_u32(kSha256Rounds + 4 * i));
      const uint32x4_t kept = abcd;
      abcd = vsha256hq_u32(abcd, efgh, sum);
      efgh = vsha256h2q_u32(efgh, kept, sum);
      const uint32x4_t next = vsha256su1q_u32(vsha256su0q_u32(w[0], w[1]), w[2], w[3]);
      w[0] = w[1];
      w[1] = w[2];
      w[2] = w[3];
      w[3] = next;
    }
    abcd = vaddq_u32(abcd, abcd_before);
    efgh = vaddq_u32(efgh, efgh_before);
  }
  vst1q_u32(state, abcd);
  vst1q_u32(state + 4, efgh);
}

}  // namespace

Sha256Blocks arm_sha256_blocks() { return arm_blocks; }

}  // namespace lfm::core

#else

namespace lfm::core {

Sha256Blocks arm_sha256_blocks() { return nullptr; }

}  // namespace lfm::core

#endif
