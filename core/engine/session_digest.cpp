#include "engine/session_digest.h"

#include "bundle/python_text.h"

namespace lfm::core {
namespace {

// A type as NumPy calls it.
std::string numpy_name(const std::string& dtype) {
  if (dtype == "F32") return "float32";
  if (dtype == "F16") return "float16";
  return dtype == "I8" ? "int8" : "int32";
}

}  // namespace

SessionDigest::SessionDigest(const Metadata& metadata) {
  std::string text;
  for (const auto& [name, value] : metadata) {
    text += text.empty() ? "[" : ", ";
    text += "(" + python_ascii(name) + ", " + python_ascii(value) + ")";
  }
  text += text.empty() ? "[]" : "]";
  add(text.data(), text.size());
}

void SessionDigest::begin(const std::string& name, const std::string& dtype,
                          const std::vector<int64_t>& shape) {
  std::string sizes;
  for (const int64_t size : shape) {
    if (!sizes.empty()) sizes += ", ";
    sizes += std::to_string(size);
  }
  if (shape.size() == 1) sizes += ",";
  const std::string text =
      "(" + python_ascii(name) + ", '" + numpy_name(dtype) + "', (" + sizes + "))";
  add(text.data(), text.size());
}

}  // namespace lfm::core
