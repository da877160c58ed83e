#include "chat/openings.h"

namespace lfm::core {

std::vector<std::string> openings_of_calls(const std::set<std::string>& names) {
  std::vector<std::string> openings;
  for (const std::string& name : names) {
    openings.push_back("[" + name + "(");
    openings.push_back("{\"name\":\"" + name + "\"");
    openings.push_back("{\"" + name + "\":{");
    openings.push_back("{'name':'" + name + "'");
    openings.push_back("{'" + name + "':{");
  }
  if (!openings.empty()) {
    openings.insert(openings.end(), {"{\"function\":", "{\"type\":\"function\"",
                                     "{\"arguments\":", "{\"parameters\":"});
  }
  const size_t bare = openings.size();
  for (size_t i = 0; i < bare; ++i) {
    if (openings[i][0] == '{') openings.push_back("[" + openings[i]);
  }
  for (const std::string& name : names) {
    openings.push_back("<function=" + name + ">");
    openings.push_back("<tool_call><function=" + name + ">");
  }
  const size_t unfenced = openings.size();
  for (const char* fence : {"```", "```json", "```python"}) {
    for (size_t i = 0; i < unfenced; ++i) openings.push_back(fence + openings[i]);
  }
  return openings;
}

}  // namespace lfm::core
