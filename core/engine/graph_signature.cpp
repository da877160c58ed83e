#include "engine/graph_signature.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/requirements.h"

namespace lfm::core {
namespace {

constexpr int64_t kAny = -1;  // any size

// The type of a port: its elements in ONNX Runtime's words, and its sizes.
struct Port {
  std::string elements;
  std::vector<int64_t> shape;

  std::string text() const {
    std::string sizes;
    for (const int64_t size : shape) {
      if (!sizes.empty()) sizes += ", ";
      sizes += size == kAny ? "any" : std::to_string(size);
    }
    return elements + " [" + sizes + "]";
  }
};

using Ports = std::map<std::string, Port>;

struct NamedPort {
  std::string name;
  Port port;
};

std::string onnx_name(ElementType type) {
  return std::string("tensor(") + (type == ElementType::kFloat32 ? "float" : name_of(type)) + ")";
}

std::string onnx_name(OrtElementType type) {
  constexpr const char* names[] = {"undefined", "float",  "uint8",  "int8",   "uint16",
                                   "int16",     "int32",  "int64",  "string", "bool",
                                   "float16",   "double", "uint32", "uint64"};
  const bool known = type >= 0 && static_cast<size_t>(type) < sizeof names / sizeof *names;
  return std::string("tensor(") + (known ? names[type] : "of another type") + ")";
}

// One side of a graph, as ONNX Runtime tells of it.
class Side {
 public:
  Side(const Ort& ort, const OrtSession& session, bool inputs)
      : ort_(ort), session_(session), inputs_(inputs) {}

  std::vector<NamedPort> ports() const {
    size_t count = 0;
    check((inputs_ ? ort_SessionGetInputCount : ort_SessionGetOutputCount)(ort_.api)(&session_,
                                                                                     &count));
    std::vector<NamedPort> found;
    for (size_t index = 0; index < count; ++index) found.push_back({name(index), port(index)});
    return found;
  }

 private:
  void check(OrtStatus* status) const { ort_.check(status, "the graph's signature"); }

  std::string name(size_t index) const {
    char* text = nullptr;
    check((inputs_ ? ort_SessionGetInputName : ort_SessionGetOutputName)(ort_.api)(
        &session_, index, ort_.allocator, &text));
    return ort_.taken(text);
  }

  Port port(size_t index) const {
    OrtTypeInfo* type = nullptr;
    check((inputs_ ? ort_SessionGetInputTypeInfo : ort_SessionGetOutputTypeInfo)(ort_.api)(
        &session_, index, &type));
    const OrtHandle<OrtTypeInfo> owned(type, ort_ReleaseTypeInfo(ort_.api));
    const OrtTensorTypeAndShapeInfo* tensor = nullptr;
    check(ort_CastTypeInfoToTensorInfo(ort_.api)(type, &tensor));
    if (tensor == nullptr) return {"no tensor", {}};
    OrtElementType elements = kOrtUndefined;
    check(ort_GetTensorElementType(ort_.api)(tensor, &elements));
    size_t rank = 0;
    check(ort_GetDimensionsCount(ort_.api)(tensor, &rank));
    std::vector<int64_t> shape(rank);
    check(ort_GetDimensions(ort_.api)(tensor, shape.data(), rank));
    for (int64_t& size : shape) size = std::max(size, kAny);
    return {onnx_name(elements), shape};
  }

  const Ort& ort_;
  const OrtSession& session_;
  bool inputs_;
};

std::vector<int64_t> open_shape(const StateTensor& tensor) {
  std::vector<int64_t> shape = tensor.shape;
  std::replace(shape.begin(), shape.end(), kCapacity, kAny);
  return shape;
}

Ports wanted_inputs(const Graph& graph) {
  const Function& ports = graph.functions[0];
  const std::string counts = onnx_name(ElementType::kInt64);
  Ports wanted{{ports.input_ids, {counts, {1, kAny}}},
               {*ports.port(InputRole::kAttentionMask), {counts, {1, kAny}}}};
  for (const InputRole role :
       {InputRole::kReplayed, InputRole::kReplayedWindows, InputRole::kConvColumns}) {
    if (const auto& port = ports.port(role)) wanted[*port] = {counts, {1}};
  }
  if (const auto& port = ports.port(InputRole::kLogitsAt)) wanted[*port] = {counts, {kAny}};
  for (const StateTensor& tensor : graph.state) {
    wanted[*tensor.input] = {onnx_name(tensor.dtype), open_shape(tensor)};
  }
  return wanted;
}

Ports wanted_outputs(const Graph& graph, int64_t vocab_size) {
  const Function& ports = graph.functions[0];
  const std::string floats = onnx_name(ElementType::kFloat32);
  const int64_t rows = ports.port(InputRole::kLogitsAt) ? kAny : 1;
  Ports wanted{{ports.logits, {floats, {1, rows, vocab_size}}}};
  for (const StateTensor& tensor : graph.state) {
    std::vector<int64_t> shape = open_shape(tensor);
    wanted[*tensor.output] = {onnx_name(tensor.dtype), shape};
    if (!tensor.columns) continue;
    shape.back() = kAny;
    wanted[*tensor.columns] = {floats, shape};
  }
  return wanted;
}

// A port of the graph in words; sizes that it leaves open are those that are wanted.
std::string described(Port found, const Ports& wanted, const std::string& name) {
  const auto match = wanted.find(name);
  if (match != wanted.end() && match->second.shape.size() == found.shape.size()) {
    for (size_t axis = 0; axis < found.shape.size(); ++axis) {
      int64_t& size = found.shape[axis];
      if (size == kAny) size = match->second.shape[axis];
    }
  }
  return found.text();
}

void require_ports(const std::string& where, const std::string& side, const Ports& wanted,
                   const std::vector<NamedPort>& found) {
  std::map<std::string, std::string> there;
  std::set<std::string> names;
  for (const NamedPort& node : found) {
    there[node.name] = described(node.port, wanted, node.name);
    names.insert(node.name);
  }
  for (const auto& [name, port] : wanted) names.insert(name);
  for (const std::string& name : names) {
    const auto match = wanted.find(name);
    const std::string expected = match == wanted.end() ? "none" : match->second.text();
    const std::string got = there.count(name) > 0 ? there[name] : "missing";
    if (got == expected) continue;
    throw Error(LFM_BUNDLE, where + ": the " + side + " are not those of the manifest: " + name +
                                " is " + got + ", expected " + expected);
  }
}

using StatePort = std::optional<std::string> StateTensor::*;

// Holds the state's ports to the graph's order, so that no two of one shape are exchanged.
void require_order(const std::string& where, const char* role, const Graph& graph, StatePort port,
                   const std::vector<NamedPort>& found) {
  std::vector<std::string> wanted;
  for (const StateTensor& tensor : graph.state) {
    if (tensor.*port) wanted.push_back(*(tensor.*port));
  }
  const std::set<std::string> names(wanted.begin(), wanted.end());
  auto next = wanted.begin();
  for (const NamedPort& node : found) {
    if (names.count(node.name) == 0) continue;
    if (*next != node.name) {
      throw Error(LFM_BUNDLE, where + ": state: the manifest has " + role + " " + *next +
                                  " where the graph's order has " + node.name +
                                  "; a tensor's ports were exchanged with those of another");
    }
    ++next;
  }
}

// The positions that the graph's tables have by its metadata; -1 where it does not say.
int64_t known_room(const Ort& ort, const OrtSession& session, const std::string& where) {
  OrtModelMetadata* metadata = nullptr;
  ort.check(ort_SessionGetModelMetadata(ort.api)(&session, &metadata), where);
  const OrtHandle<OrtModelMetadata> owned(metadata, ort_ReleaseModelMetadata(ort.api));
  char* found = nullptr;
  ort.check(ort_ModelMetadataLookupCustomMetadataMap(ort.api)(metadata, ort.allocator,
                                                              "max_context", &found),
            where);
  if (found == nullptr) return -1;
  const std::string text = ort.taken(found);
  const bool number =
      !text.empty() && text.size() <= 18 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return number ? std::stoll(text) : 0;
}

}  // namespace

void require_signature(const Ort& ort, const OrtSession& session, const Bundle& bundle) {
  const Graph& graph = bundle.manifest().graph;
  const std::string where = bundle.graph_path();
  const std::vector<NamedPort> taken = Side(ort, session, true).ports();
  const std::vector<NamedPort> given = Side(ort, session, false).ports();
  require_ports(where, "inputs", wanted_inputs(graph), taken);
  require_ports(where, "outputs", wanted_outputs(graph, bundle.manifest().model.vocab_size), given);
  require_order(where, "input", graph, &StateTensor::input, taken);
  require_order(where, "output", graph, &StateTensor::output, given);
  require_order(where, "columns", graph, &StateTensor::columns, given);
  const int64_t room = known_room(ort, session, where);
  if (room >= 0) require_room(bundle, room);
}

}  // namespace lfm::core
