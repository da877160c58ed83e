#include "add_norm.h"

namespace lfm {

void AddNormWork::run(int, int64_t begin, int64_t end, void*) {
  for (int64_t token = begin; token < end; ++token) {
    const int64_t at = token * how_.size;
    const float* branch = branch_ == nullptr ? nullptr : branch_ + at;
    kernels_.add_norm(how_, x_ + at, branch, branch == nullptr ? nullptr : sum_ + at, out_ + at);
  }
}

}  // namespace lfm
