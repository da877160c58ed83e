// What an op runs on: the kernels of this CPU, memory, and the threads of the session.
#pragma once

#include <memory>
#include <utility>

#include "kernels.h"
#include "prefetch_trials.h"
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

  // Runs a work that reads weights for so many tokens.
  void run(const Context& context, int64_t tokens, Work&& work) {
    if (tokens != 1) return run(context, std::move(work));
    trials_.run([&] { run(context, std::move(work)); });
  }

  // Runs a work on the session's threads.
  void run(const Context& context, Work&& work) {
    Workspace counted;
    work.lay_out(counted);
    Scratch memory(*pool_, counted.bytes());
    Workspace space(memory.part<std::byte>(counted.bytes()));
    work.lay_out(space);
    Scratch own(*pool_, Team::scratch_bytes(work));
    Team(context, team_size_).run(work, own.part<std::byte>(0));
  }

 private:
  const Kernels& kernels_ = kernels_for(chosen_isa());
  const StatefulKernels& stateful_ = stateful_kernels_for(chosen_isa());
  std::shared_ptr<ScratchPool> pool_ = ScratchPool::shared();
  TeamSize team_size_;
  PrefetchTrials trials_;
};

}  // namespace lfm
