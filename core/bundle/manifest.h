// `manifest.json`, the table of contents of a bundle: its types, as lfm_edge/bundle.py defines
// them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lfm::core {

constexpr const char* kManifest = "manifest.json";
constexpr int64_t kCapacity = -1;  // as a size of a state tensor: that of the session
constexpr int kPositionsAxis = 2;  // of a cache that does not grow

// The few numbers of the model that a runtime needs.
struct ModelNumbers {
  std::string family, name;
  int64_t vocab_size = 0, hidden_size = 0, num_hidden_layers = 0;
  int64_t max_context = 0;  // the most tokens that a session may hold
  std::optional<int64_t> bos_token_id, pad_token_id;
  std::vector<int64_t> eos_token_ids;
};

enum class StateKind { kKey, kValue, kScale, kConv };
enum class ElementType { kFloat32, kFloat16, kInt8, kInt64 };

int64_t bytes_of(ElementType type);

// As a manifest and NumPy call it: float32.
const char* name_of(ElementType type);
const char* name_of(StateKind kind);

// One tensor of the state that the graph carries from call to call.
struct StateTensor {
  std::string name;
  StateKind kind = StateKind::kKey;
  std::optional<int64_t> layer;
  ElementType dtype = ElementType::kFloat32;
  std::vector<int64_t> shape;                         // kCapacity marks the axis that grows
  std::optional<std::string> input, output, columns;  // ports of the graph
  std::optional<int64_t> window;

  // The axis of positions of a cache; -1 of a conv state.
  int positions_axis() const;
  bool grows() const;
  // How many positions a cache with a window keeps where these are the last alone; else 0.
  int64_t slots() const;
};

// The ports of Function that a target's graphs may lack, in this order.
enum class InputRole {
  kAttentionMask,
  kPosition,
  kValid,
  kReplayed,
  kReplayedWindows,
  kConvColumns,
  kLogitsAt
};
constexpr int kInputRoles = 7;
const char* name_of(InputRole role);

// One function of the graph: the ports of its tokens and logits, by their names.
struct Function {
  std::string name, input_ids, logits;
  std::array<std::optional<std::string>, kInputRoles> inputs;
  std::optional<int64_t> tokens;  // of a run, where it is fixed

  const std::optional<std::string>& port(InputRole role) const {
    return inputs[static_cast<size_t>(role)];
  }
};

struct Graph {
  std::string target, file;
  std::vector<Function> functions;
  std::vector<StateTensor> state;
};

struct WeightFormat {
  std::string name;
  int64_t bits = 0, group_size = 0;
};

struct Quantization {
  std::string method, head;
  std::vector<WeightFormat> formats;
  std::optional<int64_t> layout_version;
};

// What an independent reference computes for 32 teacher-forced tokens: docs/bundle.md.
struct GoldenVectors {
  std::vector<int64_t> ids, probe_ids;
  std::vector<std::vector<int64_t>> top_ids;
  std::vector<std::vector<double>> top_logits, probe_logits;
  double tolerance = 0;
  int64_t outliers = 0;
};

struct FileEntry {
  int64_t size = 0;
  std::string sha256;
};

struct Manifest {
  std::string format_version, producer;
  ModelNumbers model;
  Graph graph;
  Quantization quantization;
  GoldenVectors golden;
  std::vector<std::pair<std::string, FileEntry>> files;  // in the manifest's order

  const FileEntry* file(std::string_view name) const;  // null: there is none
};

// Reads and checks a manifest's text; `path` names it in errors.
// LFM_BUNDLE: it is malformed. LFM_UNSUPPORTED_BUNDLE: of another major version.
Manifest parse_manifest(const std::string& path, std::string_view text);

}  // namespace lfm::core
