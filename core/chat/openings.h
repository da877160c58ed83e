// How unmarked calls begin.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace lfm::core {

// The beginnings of answers that are nothing but calls of these tools, in a fence or without,
// without their white space.
std::vector<std::string> openings_of_calls(const std::set<std::string>& names);

}  // namespace lfm::core
