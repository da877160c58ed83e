// What the machine allows, measured on request: `bench_limits THREADS WEIGHTS_FILE` answers each
// line of standard input with one line of JSON, {"amount": ..., "seconds": ...}.
//
//   read       bytes read from memory, in pages as large as the system gives
//   multiply   8-bit products in registers
//   decode OFFSET:FORMAT:ROWS:COLUMNS ...
//              bytes of these packed matrices of the mapped file, multiplied with one token's
//              activations by the kernels alone: no graph, no barrier between matrices
//
// Kernels and products are those of the instruction set that LFM_OPS_ISA forces, else the best.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "packed_matrix.h"
#include "peak.h"
#include "prefetch.h"
#include "timing.h"
#include "truth.h"

using namespace lfm;

namespace {

constexpr int64_t kBufferBytes = int64_t{512} << 20;  // larger than any cache
constexpr int kReads = 4;
constexpr int kPeaks = 8;

std::atomic<uint64_t> sink{0};  // so that no work is for nothing

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "bench_limits: " << what << '\n';
  std::exit(2);
}

struct File {
  const uint8_t* data;
  int64_t bytes;

  explicit File(const char* path) {
    const int file = open(path, O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0) fail(std::string(path) + ": cannot be read");
    bytes = status.st_size;
    int flags = MAP_SHARED;
#ifdef MAP_POPULATE
    flags |= MAP_POPULATE;  // so that page faults are over
#endif
    void* mapped = mmap(nullptr, size_t(bytes), PROT_READ, flags, file, 0);
    if (mapped == MAP_FAILED) fail(std::string(path) + ": cannot be mapped");
    data = static_cast<const uint8_t*>(mapped);
    close(file);
  }
};

const uint8_t* buffer() {
  void* memory = mmap(nullptr, size_t(kBufferBytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory to read from");
#ifdef MADV_HUGEPAGE
  madvise(memory, size_t(kBufferBytes), MADV_HUGEPAGE);
#endif
  std::memset(memory, 1, size_t(kBufferBytes));
  return static_cast<const uint8_t*>(memory);
}

/// A packed matrix of the file, with activations to multiply it with.
struct Matrix {
  PackedMatrix packed;
  truth::RowsMemory activations;
};

std::vector<Matrix> matrices(std::istringstream& line, const File& file, const Kernels& kernels) {
  std::vector<Matrix> all;
  std::string word;
  while (line >> word) {
    long long offset, rows, columns;
    char name[16];
    const Format* format = nullptr;
    if (std::sscanf(word.c_str(), "%lld:%15[^:]:%lld:%lld", &offset, name, &rows, &columns) == 4) {
      format = lfm_ops_format_named(name);
    }
    if (format == nullptr || offset < 0 || rows < 1 || !lfm_ops_takes_columns(format, columns)) {
      fail("\"" + word + "\": expected OFFSET:FORMAT:ROWS:COLUMNS");
    }
    const PackedMatrix packed{file.data + offset, format, rows, columns};
    if (offset > file.bytes || packed.bytes() > file.bytes - offset) {
      fail("\"" + word + "\" reaches beyond the end of the file");
    }
    all.push_back({packed, truth::RowsMemory(*format, 1, columns)});
    truth::Random random(1);
    const std::vector<float> x = truth::normal_values(random, size_t(columns));
    kernels.activations(*format).prepare(x.data(), columns, columns, 0, 1,
                                         all.back().activations.rows);
  }
  return all;
}

/// One thread's share of every matrix.
void multiply(const std::vector<Matrix>& all, const Kernels& kernels, ptrdiff_t prefetch,
              int thread, int threads) {
  float out[kBlockRows], sum = 0;
  for (const Matrix& matrix : all) {
    const int64_t blocks = matrix.packed.row_blocks();
    for (int64_t b = blocks * thread / threads; b < blocks * (thread + 1) / threads; ++b) {
      kernels.matmul (*matrix.packed.format)(matrix.packed.block(b), matrix.activations.rows,
                                             matrix.packed.groups(), 0, 1, out, kBlockRows,
                                             prefetch);
      sum += out[b % kBlockRows];
    }
  }
  sink += uint64_t(std::fabs(sum));
}

void answer(double amount, double seconds) {
  std::printf("{\"amount\": %.0f, \"seconds\": %.9f}\n", amount, seconds);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  if (argc != 3 || threads < 1) fail("expected THREADS WEIGHTS_FILE");
  std::string error;
  const Kernels& kernels = kernels_for(choose_isa(error));
  if (!error.empty()) fail(error);
  const File file(argv[2]);
  const uint8_t* memory = buffer();
  const int64_t each = kBufferBytes / threads;
  for (std::string text; std::getline(std::cin, text);) {
    std::istringstream line(text);
    std::string task;
    line >> task;
    if (task == "read") {
      answer(double(each) * threads * kReads, timed(threads, [&](int thread) {
               for (int i = 0; i < kReads; ++i)
                 sink += read_all(kernels.isa, memory + thread * each, each);
             }));
    } else if (task == "multiply") {
      std::vector<double> products(size_t(threads), 0.0);
      const double seconds = timed(threads, [&](int thread) {
        for (int i = 0; i < kPeaks; ++i) products[size_t(thread)] += peak_products(kernels.isa);
      });
      double sum = 0;
      for (double p : products) sum += p;
      answer(sum, seconds);
    } else if (task == "decode") {
      const std::vector<Matrix> all = matrices(line, file, kernels);
      double bytes = 0;
      for (const Matrix& matrix : all) bytes += double(matrix.packed.bytes());
      double least = 0;  // with the distance that is best here, as sessions find it
      for (ptrdiff_t prefetch : kPrefetchTried) {
        const double seconds =
            timed(threads, [&](int thread) { multiply(all, kernels, prefetch, thread, threads); });
        if (least == 0 || seconds < least) least = seconds;
      }
      answer(bytes, least);
    } else {
      fail("\"" + task + "\": expected read, multiply or decode");
    }
  }
  return sink == 1 ? 1 : 0;
}
