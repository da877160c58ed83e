// What an op runs on: the kernels of this CPU, memory, and the threads of the session.
#pragma once

#include <memory>

#include "linear.h"
#include "scratch.h"
#include "stateful.h"
#include "team.h"

namespace lfm {

// The instruction set that the library computes with; see register.cpp.
Isa chosen_isa();

class Runner {
 public:
  const Kernels& kernels() const { return kernels_; }
  const StatefulKernels& stateful() const { return stateful_; }
  ScratchPool& pool() { return *pool_; }
  Team team(const Context& context) { return Team(context, team_size_); }

  // What `run` needs of the scratch besides the work's own memory.
  static size_t scratch_bytes() { return Team::workers() * Scratch::aligned(kScratchBytes); }

  // Makes one work on `workspace` bytes and runs it.
  template <class Make>
  void run_alone(const Context& context, int64_t workspace, const Make& make) {
    Scratch scratch(pool(), Scratch::aligned(workspace) + scratch_bytes());
    auto work = make(scratch.part<std::byte>(workspace));
    run(context, work, scratch.part<std::byte>(scratch_bytes()));
  }

  // Runs all phases of `work`, each on the session's threads.
  void run(const Context& context, Work& work, std::byte* scratch) {
    Team threads = team(context);
    for (int phase = 0; phase < work.phases(); ++phase) {
      threads.run(work.tasks(phase), [&](int64_t begin, int64_t end, int worker) {
        work.run(phase, begin, end, scratch + worker * Scratch::aligned(kScratchBytes));
      });
    }
  }

 private:
  const Kernels& kernels_ = kernels_for(chosen_isa());
  const StatefulKernels& stateful_ = stateful_kernels_for(chosen_isa());
  std::shared_ptr<ScratchPool> pool_ = ScratchPool::shared();
  TeamSize team_size_;
};

}  // namespace lfm
