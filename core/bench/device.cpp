#include "bench/device.h"

#include <dirent.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#if defined(__ANDROID__)
#include <sys/system_properties.h>
#endif

namespace lfm::bench {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The text behind the first "name...:" of a file of such lines.
std::string field(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == line.npos ? "" : line.substr(begin);
  }
  return "";
}

int64_t kilobytes(const std::string& path, const std::string& name) {
  return std::atoll(field(path, name).c_str()) * 1024;
}

// The names in a folder that begin so.
std::vector<std::string> entries(const std::string& folder, const std::string& beginning) {
  std::vector<std::string> names;
  DIR* const directory = opendir(folder.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name.compare(0, beginning.size(), beginning) == 0) names.push_back(name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_of_processor(const std::string& sensor) {
  for (const char* word : {"cpu", "CPU", "soc", "pkg", "big", "BIG", "little", "LITTLE"}) {
    if (sensor.find(word) != sensor.npos) return true;
  }
  return false;
}

}  // namespace

std::string cpu_name() {
#if defined(__ANDROID__)
  char value[PROP_VALUE_MAX] = "";
  for (const char* name : {"ro.soc.model", "ro.hardware.chipname", "ro.board.platform"}) {
    if (__system_property_get(name, value) > 0) return value;
  }
#endif
  for (const char* name : {"model name", "Hardware"}) {
    const std::string found = field("/proc/cpuinfo", name);
    if (!found.empty()) return found;
  }
  utsname system;
  return uname(&system) == 0 ? system.machine : "unknown";
}

std::string system_name() {
  utsname system;
  if (uname(&system) != 0) return "unknown";
  return std::string(system.sysname) + " " + system.release + " " + system.machine;
}

int64_t memory_bytes() { return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE); }

int usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return CPU_COUNT(&cores);
  return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

bool pin_to(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) {
    if (core >= CPU_SETSIZE) return false;
    CPU_SET(core, &set);
  }
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

Memory own_memory() {
  return {kilobytes("/proc/self/status", "VmHWM"),
          kilobytes("/proc/self/smaps_rollup", "Private_Dirty")};
}

std::optional<double> temperature_celsius() {
  const std::string folder = "/sys/class/thermal/";
  std::optional<double> hottest;
  for (const std::string& zone : entries(folder, "thermal_zone")) {
    if (!is_of_processor(first_line(folder + zone + "/type"))) continue;
    const double degrees = std::atof(first_line(folder + zone + "/temp").c_str()) / 1000;
    if (degrees > 0 && degrees < 150) hottest = std::max(hottest.value_or(degrees), degrees);
  }
  return hottest;
}

std::optional<double> frequency_mhz() {
  const std::string folder = "/sys/devices/system/cpu/";
  double sum = 0;
  int count = 0;
  for (const std::string& core : entries(folder, "cpu")) {
    const double khz = std::atof(first_line(folder + core + "/cpufreq/scaling_cur_freq").c_str());
    if (khz <= 0) continue;
    sum += khz / 1000;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

}  // namespace lfm::bench
