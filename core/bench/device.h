// What the system tells of itself: processor, memory, temperature, frequency.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lfm::bench {

std::string cpu_name();
std::string system_name();  // "Linux 6.1.0 aarch64"
int64_t memory_bytes();
int usable_cores();

// Keeps this process, and all threads that it starts from now on, to these cores. False where the
// system refuses.
bool pin_to(const std::vector<int>& cores);

struct Memory {
  int64_t peak_rss_bytes;  // the most that was ever resident, file pages included
  int64_t private_bytes;   // what this process wrote and nothing can drop
};
Memory own_memory();

// The hottest of the processor's sensors, in degrees Celsius, and the mean frequency of the cores;
// nothing where the system does not tell.
std::optional<double> temperature_celsius();
std::optional<double> frequency_mhz();

}  // namespace lfm::bench
