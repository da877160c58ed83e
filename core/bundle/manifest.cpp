#include "bundle/manifest.h"

#include <algorithm>

#include "base/error.h"
#include "bundle/json_field.h"
#include "bundle/manifest_checks.h"

namespace lfm::core {
namespace {

constexpr size_t kLongestName = 255;
constexpr size_t kMostNames = 16;  // of a path

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > kLongestName) return false;
  if (!is_alphanumeric(name[0]) && name[0] != '_') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

template <class T>
auto into(T& place, T (JsonField::*read)() const) {
  return [&place, read](const JsonField& field) { place = (field.*read)(); };
}

auto into(std::string& place) {
  return [&place](const JsonField& field) { place = field.text(); };
}

auto into(std::optional<std::string>& place) { return into(place, &JsonField::optional_text); }

auto into(int64_t& place, int64_t least) {
  return [&place, least](const JsonField& field) { place = field.integer(least); };
}

auto into(std::optional<int64_t>& place, int64_t least) {
  return [&place, least](const JsonField& field) { place = field.optional_integer(least); };
}

auto into_id(std::optional<int64_t>& place) {
  return [&place](const JsonField& field) { place = field.optional_token_id(); };
}

template <class T>
auto into(std::vector<T>& place, const std::function<T(const JsonField&)>& read) {
  return [&place, read](const JsonField& field) { place = field.list(read); };
}

int64_t id_of(const JsonField& field) { return field.token_id(); }
double number_of(const JsonField& field) { return field.number(); }

std::vector<int64_t> ids_of(const JsonField& field) { return field.list<int64_t>(id_of); }
std::vector<double> numbers_of(const JsonField& field) { return field.list<double>(number_of); }

ModelNumbers model_of(const JsonField& field) {
  ModelNumbers model;
  field.object({{"family", into(model.family)},
                {"name", into(model.name)},
                {"vocab_size", into(model.vocab_size, 1)},
                {"hidden_size", into(model.hidden_size, 1)},
                {"num_hidden_layers", into(model.num_hidden_layers, 1)},
                {"max_context", into(model.max_context, 1)},
                {"bos_token_id", into_id(model.bos_token_id)},
                {"eos_token_ids", into<int64_t>(model.eos_token_ids, id_of)},
                {"pad_token_id", into_id(model.pad_token_id)}});
  return model;
}

int64_t size_of_axis(const JsonField& field) {
  if (!field.value().is_string()) {
    if (!field.value().is_number()) field.expected("`int | str`");
    if (!field.value().is_integer() &&
        field.value().number_text().find_first_of(".eE") != std::string::npos) {
      field.expected("`int | str`");
    }
    return field.integer(1);
  }
  field.word({"capacity"});
  return kCapacity;
}

StateTensor state_of(const JsonField& field) {
  StateTensor tensor;
  field.object({{"name", into(tensor.name)},
                {"kind",
                 [&](const JsonField& kind) {
                   tensor.kind =
                       static_cast<StateKind>(kind.word({"key", "value", "scale", "conv"}));
                 }},
                {"layer", into(tensor.layer, 0)},
                {"dtype",
                 [&](const JsonField& dtype) {
                   tensor.dtype =
                       static_cast<ElementType>(dtype.word({"float32", "float16", "int8"}));
                 }},
                {"shape",
                 [&](const JsonField& shape) {
                   tensor.shape = shape.list<int64_t>(size_of_axis);
                   if (tensor.shape.empty()) shape.fail("Expected `array` of length >= 1");
                 }},
                {"input", into(tensor.input)},
                {"output", into(tensor.output)},
                {"columns", into(tensor.columns), false},
                {"window", into(tensor.window, 1), false}});
  return tensor;
}

Function function_of(const JsonField& field) {
  Function function;
  std::vector<JsonField::Member> members{{"name", into(function.name)},
                                         {"input_ids", into(function.input_ids)},
                                         {"logits", into(function.logits)},
                                         {"tokens", into(function.tokens, 1), false}};
  for (int role = 0; role < kInputRoles; ++role) {
    members.push_back({name_of(static_cast<InputRole>(role)),
                       into(function.inputs[static_cast<size_t>(role)]), false});
  }
  field.object(members);
  return function;
}

Graph graph_of(const JsonField& field) {
  Graph graph;
  field.object({{"target", into(graph.target)},
                {"file",
                 [&](const JsonField& file) {
                   graph.file = file.text(is_plain_name, "^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$");
                 }},
                {"functions", into<Function>(graph.functions, function_of)},
                {"state", into<StateTensor>(graph.state, state_of)}});
  return graph;
}

WeightFormat format_of(const JsonField& field) {
  WeightFormat format;
  field.object({{"name", into(format.name)},
                {"bits", into(format.bits, 1)},
                {"group_size", into(format.group_size, 0)}});
  return format;
}

Quantization quantization_of(const JsonField& field) {
  Quantization quantization;
  field.object({{"method", into(quantization.method)},
                {"head", into(quantization.head)},
                {"formats", into<WeightFormat>(quantization.formats, format_of)},
                {"layout_version", into(quantization.layout_version, 1), false}});
  return quantization;
}

GoldenVectors golden_of(const JsonField& field) {
  GoldenVectors golden;
  field.object(
      {{"ids", into<int64_t>(golden.ids, id_of)},
       {"top_ids", into<std::vector<int64_t>>(golden.top_ids, ids_of)},
       {"top_logits", into<std::vector<double>>(golden.top_logits, numbers_of)},
       {"probe_ids", into<int64_t>(golden.probe_ids, id_of)},
       {"probe_logits", into<std::vector<double>>(golden.probe_logits, numbers_of)},
       {"tolerance", [&](const JsonField& number) { golden.tolerance = number.number_above(0); }},
       {"outliers", into(golden.outliers, 0), false}});
  return golden;
}

FileEntry file_of(const JsonField& field) {
  FileEntry entry;
  field.object({{"size", into(entry.size, 0)}, {"sha256", [&](const JsonField& hash) {
                                                  entry.sha256 =
                                                      hash.text(is_sha256, "^[0-9a-f]{64}$");
                                                }}});
  return entry;
}

Manifest manifest_of(const JsonField& field) {
  Manifest manifest;
  field.object({{"format_version", into(manifest.format_version)},
                {"producer", into(manifest.producer)},
                {"model", [&](const JsonField& part) { manifest.model = model_of(part); }},
                {"graph", [&](const JsonField& part) { manifest.graph = graph_of(part); }},
                {"quantization",
                 [&](const JsonField& part) { manifest.quantization = quantization_of(part); }},
                {"golden", [&](const JsonField& part) { manifest.golden = golden_of(part); }},
                {"files", [&](const JsonField& part) {
                   part.map([&](const std::string& name, const JsonField& entry) {
                     manifest.files.emplace_back(name, file_of(entry));
                   });
                 }}});
  return manifest;
}

Json parsed(const std::string& path, std::string_view text) {
  try {
    return Json::parse(text, path);
  } catch (const Error& error) {
    throw Error(LFM_BUNDLE, error.what());
  }
}

}  // namespace

bool is_bundle_path(std::string_view path) {
  size_t names = 0;
  while (true) {
    const size_t slash = path.find('/');
    if (++names > kMostNames || !is_plain_name(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

int64_t bytes_of(ElementType type) {
  constexpr int64_t sizes[] = {4, 2, 1, 8};
  return sizes[static_cast<size_t>(type)];
}

const char* name_of(ElementType type) {
  constexpr const char* names[] = {"float32", "float16", "int8", "int64"};
  return names[static_cast<size_t>(type)];
}

const char* name_of(StateKind kind) {
  constexpr const char* names[] = {"key", "value", "scale", "conv"};
  return names[static_cast<size_t>(kind)];
}

const char* name_of(InputRole role) {
  constexpr const char* names[] = {"attention_mask",   "position",     "valid",    "replayed",
                                   "replayed_windows", "conv_columns", "logits_at"};
  return names[static_cast<size_t>(role)];
}

int StateTensor::positions_axis() const {
  if (kind == StateKind::kConv) return -1;
  const auto axis = std::find(shape.begin(), shape.end(), kCapacity);
  return axis == shape.end() ? kPositionsAxis : static_cast<int>(axis - shape.begin());
}

bool StateTensor::grows() const {
  return std::find(shape.begin(), shape.end(), kCapacity) != shape.end();
}

int64_t StateTensor::slots() const {
  const bool keeps_last = kind != StateKind::kConv && window && !grows();
  return keeps_last && shape.size() > kPositionsAxis ? shape[kPositionsAxis] : 0;
}

const FileEntry* Manifest::file(std::string_view name) const {
  for (const auto& [listed, entry] : files) {
    if (listed == name) return &entry;
  }
  return nullptr;
}

Manifest parse_manifest(const std::string& path, std::string_view text) {
  const Json json = parsed(path, text);
  check_outline(path, json);
  Manifest manifest = manifest_of(JsonField(json, path));
  check_contents(path, manifest);
  return manifest;
}

}  // namespace lfm::core
