// Kernels against the machine: bytes read per second against a bare loop, products per second
// against registers alone. Each figure is taken back to back with its limit, several times over;
// the median of the ratios counts.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "peak.h"
#include "timing.h"
#include "truth.h"

using namespace lfm;

namespace {

constexpr int kRounds = 9;
constexpr int64_t kHidden = 2048;

std::atomic<uint64_t> sink{0};  // so that no work is for nothing

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Weights of plausible scales, made fast.
std::vector<uint8_t> made_up(const Format& format, int64_t blocks) {
  std::vector<uint8_t> data(size_t(blocks * lfm_ops_block_bytes(&format, kHidden)));
  const int64_t tile_bytes = format.tile_bytes;
  uint64_t state = 88172645463325252u;
  for (size_t at = 0; at + 8 <= data.size(); at += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(&data[at], &state, 8);
  }
  for (size_t at = 0; at < data.size(); at += size_t(tile_bytes)) {
    for (int r = 0; r < 32; ++r) {
      const uint16_t scale = uint16_t(0x1c00 + r);
      if (format.group_size > 0)
        std::memcpy(&data[at + size_t(tile_bytes) - 64 + 2 * size_t(r)], &scale, 2);
    }
    if (format.group_size == 0) std::memset(&data[at], 0, size_t(tile_bytes));
  }
  return data;
}

void decode(const Kernels& kernels, const Format& format, int threads, int64_t tokens,
            ptrdiff_t prefetch) {
  const int64_t block_bytes = lfm_ops_block_bytes(&format, kHidden);
  const int64_t blocks = (int64_t{512} << 20) / block_bytes / threads * threads;
  const std::vector<uint8_t> data = made_up(format, blocks);
  truth::Random random(1);
  const std::vector<float> x = truth::normal_values(random, size_t(tokens * kHidden));
  truth::RowsMemory memory(format, tokens, kHidden);
  kernels.activations(format).prepare(x.data(), kHidden, kHidden, 0, tokens, memory.rows);
  const int64_t each = blocks / threads;
  std::vector<double> speed, limit, ratio;
  for (int round = 0; round < kRounds; ++round) {
    const double bare = timed(threads, [&](int thread) {
      sink += read_all(kernels.isa, data.data() + thread * each * block_bytes, each * block_bytes);
    });
    const double ours = timed(threads, [&](int thread) {
      std::vector<float> out(size_t(tokens * 32));
      float sum = 0;
      for (int64_t b = thread * each; b < (thread + 1) * each; ++b) {
        kernels.matmul(format)(data.data() + b * block_bytes, memory.rows, kHidden / 32, 0, tokens,
                               out.data(), 32, prefetch);
        sum += out[size_t(b % 32)];
      }
      sink += uint64_t(std::fabs(sum));
    });
    const double gigabytes = double(blocks * block_bytes) / 1e9;
    speed.push_back(gigabytes / ours);
    limit.push_back(gigabytes / bare);
    ratio.push_back(bare / ours);
  }
  std::printf(
      "decode  %-12s %-3s %d threads, %ld tokens, prefetch %5ld: %6.1f GB/s of %6.1f: %.3f\n",
      isa_name(kernels.isa), format.name, threads, long(tokens), long(prefetch), median(speed),
      median(limit), median(ratio));
}

void prefill(const Kernels& kernels, const Format& format, int threads, int64_t tokens,
             ptrdiff_t prefetch) {
  const int64_t blocks = 56;
  const std::vector<uint8_t> data = made_up(format, blocks);
  const int64_t block_bytes = lfm_ops_block_bytes(&format, kHidden);
  truth::Random random(1);
  const std::vector<float> x = truth::normal_values(random, size_t(tokens * kHidden));
  truth::RowsMemory memory(format, tokens, kHidden);
  kernels.activations(format).prepare(x.data(), kHidden, kHidden, 0, tokens, memory.rows);
  const int repeats = int(2048 / tokens) + 1;
  std::vector<double> speed, limit, ratio;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<double> products{0};
    const double peak_seconds = timed(threads, [&](int) {
      const double mine = peak_products(kernels.isa);
      double before = products;
      while (!products.compare_exchange_weak(before, before + mine)) {
      }
    });
    const double ours = timed(threads, [&](int) {
      std::vector<float> out(size_t(tokens * 32));
      for (int repeat = 0; repeat < repeats; ++repeat) {
        for (int64_t b = 0; b < blocks; ++b) {
          kernels.matmul(format)(data.data() + b * block_bytes, memory.rows, kHidden / 32, 0,
                                 tokens, out.data(), 32, prefetch);
        }
        sink += uint64_t(std::fabs(out[size_t(repeat) % out.size()]));
      }
    });
    const double ours_products = double(threads) * repeats * double(blocks * 32 * kHidden * tokens);
    speed.push_back(ours_products / ours / 1e9);
    limit.push_back(products / peak_seconds / 1e9);
    ratio.push_back(speed.back() / limit.back());
  }
  std::printf("prefill %-12s %-3s %d threads, %4ld tokens: %6.1f GMAC/s of %6.1f: %.3f\n",
              isa_name(kernels.isa), format.name, threads, long(tokens), median(speed),
              median(limit), median(ratio));
}

}  // namespace

// bench_kernels [THREADS [FORMAT]]: all instruction sets, or the one of LFM_OPS_ISA.
int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const bool held = std::getenv("LFM_OPS_ISA") != nullptr;
  std::string error;
  const Isa chosen = choose_isa(error);
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  for (Isa isa : truth::instruction_sets()) {
    if (isa == Isa::kScalar || (held && isa != chosen)) continue;
    const Kernels& kernels = kernels_for(isa);
    for (const Format& format : lfm_ops_formats) {
      if (argc > 2 && std::strcmp(argv[2], format.name) != 0) continue;
      for (ptrdiff_t prefetch : {0, 1152, 2304, 4608, 9216}) {
        for (int64_t tokens : {1, 4}) decode(kernels, format, threads, tokens, prefetch);
      }
      if (format.activations != LFM_OPS_INT8) continue;
      for (int64_t tokens : {4, 16, 64, 128}) {
        prefill(kernels, format, threads, tokens, kernels.prefetch_many);
      }
    }
  }
  return sink == 1 ? 1 : 0;
}
