// How tasks are shared out, against a split that is fixed beforehand: on equal cores, where weights
// stream from memory, and with one core slowed to a third, where arithmetic counts.
#include <algorithm>
#include <cstdio>

#include "fake_ort.h"
#include "linear.h"
#include "runner.h"
#include "timing.h"

using namespace lfm;

namespace {

constexpr int kThreads = 2;
constexpr int kRounds = 31;
const Format& kFormat = lfm_ops_formats[LFM_OPS_Q4];

/// A product with packed weights. With `fixed` a task is all that one thread is to do; with `slow`
/// threads other than the main one do everything three times.
class Product final : public Work {
 public:
  Product(int64_t columns, int64_t rows, int64_t tokens)
      : data_(size_t(lfm_ops_packed_bytes(&kFormat, rows, columns)), 0x5a),
        x_(size_t(tokens * columns), 0.5f),
        out_(size_t(tokens * rows)),
        work_(kernels_for(chosen_isa()), {data_.data(), &kFormat, rows, columns}, nullptr,
              x_.data(), tokens, out_.data()) {
    Workspace counted;
    work_.lay_out(counted);
    workspace_.resize(size_t(counted.bytes()) + 64);
    Workspace space(workspace_.data());
    work_.lay_out(space);
    for (int64_t t = 0; t < tokens; ++t) work_.run(0, t, t + 1, nullptr);
  }

  int phases() const override { return 1; }
  int64_t tasks(int) const override { return fixed ? kThreads : work_.tasks(1); }
  int64_t scratch_bytes() const override { return work_.scratch_bytes(); }
  void run(int, int64_t begin, int64_t end, void* scratch) override {
    const int64_t all = work_.tasks(1);
    const int times = slow && std::this_thread::get_id() != main_ ? 3 : 1;
    for (int i = 0; i < times; ++i) {
      if (!fixed) {
        work_.run(1, begin, end, scratch);
        continue;
      }
      for (int64_t part = begin; part < end; ++part) {
        work_.run(1, all * part / kThreads, all * (part + 1) / kThreads, scratch);
      }
    }
  }

  bool fixed = false, slow = false;

 private:
  std::thread::id main_ = std::this_thread::get_id();
  std::vector<uint8_t> data_;
  std::vector<float> x_, out_;
  std::vector<char> workspace_;
  LinearWork work_;
};

double run_on(Product& product, TeamSize& size) {
  fake::Call call{};
  call.threads = kThreads;
  const Context context{fake::api(), reinterpret_cast<OrtKernelContext*>(&call), nullptr, nullptr};
  std::vector<std::byte> scratch(Team::scratch_bytes(product) + 64);
  const double start = seconds_now();
  Team(context, size).run(product, scratch.data());
  return seconds_now() - start;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Times of the fixed split over those of the shared one, back to back.
double fixed_over_shared(Product& product) {
  TeamSize size;
  std::vector<double> ratios;
  for (int round = 0; round < 2 * kRounds; ++round) {
    double seconds[2];
    for (int turn = 0; turn < 2; ++turn) {
      product.fixed = (turn + round) % 2 != 0;
      seconds[product.fixed] = run_on(product, size);
    }
    if (round > 1) ratios.push_back(seconds[1] / seconds[0]);
  }
  return median(ratios);
}

}  // namespace

int main() {
  Product stream(2048, 1 << 18, 1);
  std::printf("two equal cores, 302 MB of weights: shared at %.3f of a fixed split's speed\n",
              fixed_over_shared(stream));
  Product arithmetic(2048, 4096, 128);
  std::printf("two equal cores, arithmetic: shared at %.3f of a fixed split's speed\n",
              fixed_over_shared(arithmetic));
  arithmetic.slow = true;
  std::printf("one at a third of the speed: shared at %.3f of a fixed split's, 2 at best\n",
              fixed_over_shared(arithmetic));
  return 0;
}
