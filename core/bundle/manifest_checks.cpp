#include "bundle/manifest_checks.h"

#include <algorithm>

#include "base/error.h"
#include "bundle/json_field.h"
#include "bundle/python_text.h"

namespace lfm::core {
namespace {

constexpr const char* kFormatVersion = "1.0";
constexpr int kFormatMajor = 1;

// The major number of MAJOR.MINOR, each of one to six digits; -1 for anything else.
int major_of(const std::string& version) {
  const size_t point = version.find('.');
  if (point == std::string::npos) return -1;
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.size() <= 6 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  const std::string_view text(version);
  if (!is_number(text.substr(0, point)) || !is_number(text.substr(point + 1))) return -1;
  return std::stoi(version.substr(0, point));
}

void check_version(const std::string& path, const std::string& version) {
  const int major = major_of(version);
  if (major < 0) {
    throw Error(LFM_BUNDLE, path + ": format_version " + python_ascii(version) +
                                ", expected one like " + kFormatVersion);
  }
  if (major == kFormatMajor) return;
  const char* const advice = major > kFormatMajor ? "update lfm-edge" : "export the bundle again";
  throw Error(LFM_UNSUPPORTED_BUNDLE, path + ": bundle format " + version +
                                          ", but this version of lfm-edge reads " +
                                          std::to_string(kFormatMajor) + ".x; " + advice);
}

void check_graph_file(const std::string& path, const Manifest& manifest) {
  const std::string& graph = manifest.graph.file;
  for (const auto& [name, entry] : manifest.files) {
    if (name == graph || name.compare(0, graph.size() + 1, graph + "/") == 0) return;
  }
  throw Error(LFM_BUNDLE, path + ": graph file " + graph + " is not listed in files");
}

using Names = std::vector<std::optional<std::string>>;

void check_unique(const std::string& path, const std::string& what, const Names& names) {
  for (const auto& name : names) {
    const auto count = std::count(names.begin(), names.end(), name);
    if (name && count > 1) {
      throw Error(LFM_BUNDLE, path + ": " + what + ": " + python_ascii(*name) + " stands for " +
                                  std::to_string(count) + " of them");
    }
  }
}

// Refuses a name for two things: whoever reads it would silently take one for both.
void check_names(const std::string& path, const Graph& graph) {
  Names functions, tensors;
  for (const Function& function : graph.functions) functions.push_back(function.name);
  for (const StateTensor& tensor : graph.state) tensors.push_back(tensor.name);
  check_unique(path, "functions", functions);
  check_unique(path, "state", tensors);
  for (const Function& function : graph.functions) {
    Names inputs{function.input_ids}, outputs{function.logits};
    inputs.insert(inputs.end(), function.inputs.begin(), function.inputs.end());
    for (const StateTensor& tensor : graph.state) {
      inputs.push_back(tensor.input);
      outputs.push_back(tensor.output);
      outputs.push_back(tensor.columns);
    }
    check_unique(path, "inputs of " + function.name, inputs);
    check_unique(path, "outputs of " + function.name, outputs);
  }
}

template <class T>
bool has_shape(const std::vector<std::vector<T>>& rows, size_t count, size_t width) {
  return rows.size() == count && std::all_of(rows.begin(), rows.end(),
                                             [&](const auto& row) { return row.size() == width; });
}

void check_golden(const std::string& path, const Manifest& manifest) {
  const GoldenVectors& golden = manifest.golden;
  const size_t rows = golden.ids.size(), probes = golden.probe_ids.size();
  const size_t tops = golden.top_ids.empty() ? 0 : golden.top_ids[0].size();
  // Without rows Python compares a set of no widths with one width, which differ.
  if (rows == 0 || !has_shape(golden.top_ids, rows, tops) ||
      !has_shape(golden.top_logits, rows, tops) || !has_shape(golden.probe_logits, rows, probes)) {
    throw Error(LFM_BUNDLE,
                path + ": golden vectors do not fit together (" + std::to_string(rows) + " ids)");
  }
  const int64_t vocab = manifest.model.vocab_size;
  const auto outside = [&](const std::vector<int64_t>& ids) {
    return std::any_of(ids.begin(), ids.end(), [&](int64_t id) { return id >= vocab; });
  };
  if (tops == 0 || outside(golden.ids) || outside(golden.probe_ids) ||
      std::any_of(golden.top_ids.begin(), golden.top_ids.end(), outside)) {
    throw Error(LFM_BUNDLE, path + ": golden vectors are empty or name a token outside " +
                                std::to_string(vocab) + " ids");
  }
}

}  // namespace

void check_outline(const std::string& path, const Json& json) {
  std::string version;
  std::vector<std::string> names;
  JsonField(json, path)
      .object({{"format_version", [&](const JsonField& field) { version = field.text(); }},
               {"files",
                [&](const JsonField& field) {
                  field.map(
                      [&](const std::string& name, const JsonField&) { names.push_back(name); });
                },
                false}});
  check_version(path, version);
  for (const std::string& name : names) {
    if (!is_bundle_path(name)) {
      throw Error(LFM_BUNDLE, path + ": " + python_ascii(name) +
                                  " in files is not a path of plain names; a bundle's files lie "
                                  "in its own folder");
    }
  }
}

void check_contents(const std::string& path, const Manifest& manifest) {
  check_graph_file(path, manifest);
  check_names(path, manifest.graph);
  check_golden(path, manifest);
}

}  // namespace lfm::core
