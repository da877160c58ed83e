// One call of an op, cut into tasks: what is computed, not who computes it when.
//
// Phases follow one another; the tasks of a phase are independent and may run in any order on any
// threads, a range of neighbours at a time (the longer the range, the better memory streams).
// Results do not depend on how tasks are shared out. Nothing here allocates: the workspace belongs
// to one call and is shared by its tasks, `scratch` (`scratch_bytes`) belongs to one thread; both
// are aligned to 64 bytes.
#pragma once

#include <cstdint>

#include "workspace.h"

namespace lfm {

class Work {
 public:
  static constexpr int kMostPhases = 8;

  virtual ~Work() = default;
  // Takes what the tasks share, if they do. Called first on no memory, which only counts, then
  // before any task on as much as was counted.
  virtual void lay_out(Workspace&) {}
  virtual int phases() const = 0;  // at most kMostPhases
  // Known only when the phases before have ended.
  virtual int64_t tasks(int phase) const = 0;
  virtual void run(int phase, int64_t begin, int64_t end, void* scratch) = 0;
  virtual int64_t scratch_bytes() const = 0;
};

}  // namespace lfm
