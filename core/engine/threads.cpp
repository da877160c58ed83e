#include "engine/threads.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace lfm::core {
namespace {

#ifdef __linux__

#if defined(__aarch64__) || defined(__arm__)
constexpr bool kManyKinds = true;
#else
constexpr bool kManyKinds = false;
#endif

std::vector<int> usable_cores() {
  std::vector<int> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// The first line of a file that the system keeps for a core; "" where it has none.
std::string of_core(int core, const char* name) {
  char path[128], line[256];
  std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", core, name);
  std::FILE* const file = std::fopen(path, "r");
  if (file == nullptr) return "";
  const bool read = std::fgets(line, sizeof line, file) != nullptr;
  std::fclose(file);
  return read ? line : "";
}

// Which of the cores are not of the slowest kind; all of them where they are of one kind.
size_t fast_cores(const std::vector<int>& cores) {
  for (const char* const name : {"cpu_capacity", "cpufreq/cpuinfo_max_freq"}) {
    std::vector<long> speeds;
    for (const int core : cores) speeds.push_back(std::atol(of_core(core, name).c_str()));
    const long slowest = *std::min_element(speeds.begin(), speeds.end());
    const auto fast = static_cast<size_t>(
        std::count_if(speeds.begin(), speeds.end(), [&](long speed) { return speed > slowest; }));
    if (slowest > 0 && fast > 0) return fast;
  }
  return cores.size();
}

size_t physical_cores(const std::vector<int>& cores) {
  std::set<std::string> siblings;  // hyperthreads of one core list each other
  for (const int core : cores) {
    const std::string listed = of_core(core, "topology/thread_siblings_list");
    siblings.insert(listed.empty() ? std::to_string(core) : listed);
  }
  return siblings.size();
}

size_t counted() {
  const std::vector<int> cores = usable_cores();
  if (cores.empty()) return std::thread::hardware_concurrency();
  return kManyKinds ? fast_cores(cores) : physical_cores(cores);
}

#elif defined(__APPLE__)

size_t counted() {
  for (const char* const name : {"hw.perflevel0.physicalcpu", "hw.physicalcpu"}) {
    int count = 0;
    size_t size = sizeof count;
    if (sysctlbyname(name, &count, &size, nullptr, 0) == 0 && count > 0) {
      return static_cast<size_t>(count);
    }
  }
  return std::thread::hardware_concurrency();
}

#else

size_t counted() { return std::thread::hardware_concurrency(); }

#endif

}  // namespace

int default_threads() { return std::clamp(static_cast<int>(counted()), 1, kMostThreads); }

}  // namespace lfm::core
