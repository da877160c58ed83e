// Throws malformed nodes at every op: fuzz_ops [seconds] [seed]. Each node is a good one with some
// shapes, attributes or values changed; it must be refused with a message that names the op, or
// run. Build with LFM_OPS_SANITIZE=address,undefined.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "fake_ort.h"
#include "isa.h"
#include "lfm_ops/layout.h"
#include "ops.h"

namespace {

using fake::Info;
using fake::Value;
using Inputs = std::vector<std::optional<Value>>;

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t end) { return std::uniform_int_distribution<int64_t>(0, end - 1)(engine_); }
  bool one_in(int64_t times) { return below(times) == 0; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<int64_t>(values.size()))];
  }

  void fill(Value& value) {
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < value.count(); ++i) {
      if (value.type == kOrtFloat) value.as<float>()[i] = normal(engine_);
      if (value.type == kOrtInt64) value.as<int64_t>()[i] = below(8);
      if (value.type == kOrtInt8 || value.type == kOrtUint8) {
        value.as<uint8_t>()[i] = static_cast<uint8_t>(below(256));
      }
      if (value.type == kOrtFloat16) value.as<uint16_t>()[i] = static_cast<uint16_t>(below(0x4000));
    }
  }

 private:
  std::mt19937_64 engine_;
};

struct Node {
  const OrtCustomOp* op;
  Info info;
  Inputs inputs;
  std::vector<size_t> counts = {};  // inputs that have their value already

  void add(OrtElementType type, std::vector<int64_t> dims) {
    inputs.emplace_back(Value(type, dims));
  }
  void floats(std::vector<int64_t> dims) { add(kOrtFloat, std::move(dims)); }
  /// From 0 to `most`, or none.
  void count(Random& random, int64_t most) {
    if (random.one_in(3)) return inputs.push_back(std::nullopt);
    add(kOrtInt64, {1});
    *inputs.back()->as<int64_t>() = random.below(most + 1);
    counts.push_back(inputs.size() - 1);
  }
  void optional_floats(Random& random, std::vector<int64_t> dims) {
    if (random.one_in(2)) return inputs.push_back(std::nullopt);
    floats(std::move(dims));
  }
  /// Picks the format that attribute `name` is to give.
  void format(Random& random, const char* name) {
    info.texts[name] = lfm_ops_formats[random.below(LFM_OPS_FORMATS)].name;
  }
  const LfmOpsFormat* format(const char* name) {
    return lfm_ops_format_named(info.texts[name].c_str());
  }

  /// Some that the formats of these attributes take.
  int64_t columns(Random& random, std::initializer_list<const char*> formats) {
    const int64_t any = 1 + random.below(96);
    int64_t group = 1;
    for (const char* name : formats) group = std::max<int64_t>(group, format(name)->group_size);
    return (any + group - 1) / group * group;
  }
  void weight(const char* name, int64_t rows, int64_t columns) {
    add(kOrtUint8, {lfm_ops_packed_bytes(format(name), rows, columns)});
  }
  void experts(const char* name, int64_t count, int64_t rows, int64_t columns) {
    add(kOrtUint8, {count, lfm_ops_packed_bytes(format(name), rows, columns)});
  }
};

Node linear(Random& random, int64_t tokens) {
  Node node{lfm::quantized_linear_op(), {}, {}};
  node.format(random, "format");
  const int64_t rows = 1 + random.below(100), columns = node.columns(random, {"format"});
  node.info.integers.insert({{"rows", rows}, {"columns", columns}});
  node.floats({1, tokens, columns});
  node.weight("format", rows, columns);
  node.optional_floats(random, {rows});
  return node;
}

Node embedding(Random& random, int64_t tokens) {
  Node node{lfm::quantized_embedding_op(), {}, {}};
  node.format(random, "format");
  const int64_t rows = 8 + random.below(60), columns = node.columns(random, {"format"});
  node.info.integers.insert({{"rows", rows}, {"columns", columns}});
  node.add(kOrtInt64, {1, tokens});
  node.weight("format", rows, columns);
  return node;
}

Node mlp(Random& random, int64_t tokens) {
  Node node{lfm::gated_mlp_op(), {}, {}};
  node.format(random, "gate_up_format");
  node.format(random, "down_format");
  const int64_t hidden = node.columns(random, {"gate_up_format"});
  const int64_t inner = node.columns(random, {"down_format"});
  node.info.integers.insert({{"hidden_size", hidden}, {"intermediate_size", inner}});
  node.floats({1, tokens, hidden});
  node.weight("gate_up_format", lfm_ops_gate_up_rows(inner), hidden);
  node.weight("down_format", hidden, inner);
  return node;
}

Node moe(Random& random, int64_t tokens) {
  Node node{lfm::sparse_moe_op(), {}, {}};
  node.format(random, "gate_up_format");
  node.format(random, "down_format");
  const int64_t hidden = node.columns(random, {"gate_up_format"});
  const int64_t inner = node.columns(random, {"down_format"});
  const int64_t experts = 1 + random.below(9);
  node.info.integers.insert({{"hidden_size", hidden},
                             {"intermediate_size", inner},
                             {"num_experts", experts},
                             {"num_experts_per_tok", 1 + random.below(experts)},
                             {"norm_topk_prob", random.below(2)}});
  node.info.reals["routed_scaling_factor"] = 1.5f;
  node.floats({1, tokens, hidden});
  node.floats({experts, hidden});
  node.optional_floats(random, {experts});
  node.experts("gate_up_format", experts, lfm_ops_gate_up_rows(inner), hidden);
  node.experts("down_format", experts, hidden, inner);
  return node;
}

Node add_norm(Random& random, int64_t tokens) {
  Node node{lfm::add_rms_norm_op(), {}, {}};
  const int64_t hidden = 1 + random.below(96);
  node.info.integers = {{"hidden_size", hidden}};
  node.info.reals = {{"epsilon", 1e-5f}};
  node.floats({1, tokens, hidden});
  node.floats({hidden});
  node.optional_floats(random, {1, tokens, hidden});
  return node;
}

Node conv(Random& random, int64_t tokens) {
  Node node{lfm::gated_short_conv_op(), {}, {}};
  node.format(random, "in_proj_format");
  node.format(random, "out_proj_format");
  const int64_t hidden = node.columns(random, {"in_proj_format", "out_proj_format"});
  const int64_t kernel = 2 + random.below(7);
  node.info.integers.insert({{"hidden_size", hidden}, {"kernel_size", kernel}});
  node.floats({1, tokens, hidden});
  node.weight("in_proj_format", 3 * hidden, hidden);
  node.optional_floats(random, {3 * hidden});
  node.floats({hidden, 1, kernel});
  node.optional_floats(random, {hidden});
  node.weight("out_proj_format", hidden, hidden);
  node.optional_floats(random, {hidden});
  node.floats({1, hidden, kernel - 1});
  node.count(random, tokens + kernel - 1);
  return node;
}

Node attention(Random& random, int64_t tokens) {
  const auto [op, type] = random.pick<std::pair<const OrtCustomOp*, OrtElementType>>(
      {{lfm::cached_attention_float_op(), kOrtFloat},
       {lfm::cached_attention_float16_op(), kOrtFloat16},
       {lfm::cached_attention_int8_op(), kOrtInt8}});
  Node node{op, {}, {}};
  const int64_t kv = 1 + random.below(3), heads = kv * (1 + random.below(4));
  const int64_t dim = 16 * (1 + random.below(3)), rotary = 2 * random.below(dim / 2 + 1);
  const int64_t past = random.one_in(8) ? 1000 + random.below(100) : random.below(100);
  const int64_t window = random.one_in(2) ? 0 : 1 + random.below(200);
  const int64_t positions = past + tokens + random.below(3);
  // Of a window a cache may keep less, in whole blocks.
  const bool keeps_all = window == 0 || random.one_in(2);
  const int64_t slots =
      keeps_all ? positions : (window + tokens + 62) / 64 * 64 + 64 * random.below(2);
  node.info.integers = {{"num_heads", heads},
                        {"num_kv_heads", kv},
                        {"head_dim", dim},
                        {"rotary_dim", rotary},
                        {"window", window}};
  node.info.reals = {{"scale", 0.2f}, {"epsilon", 1e-5f}};
  node.floats({1, tokens, (heads + 2 * kv) * dim});
  node.floats({dim});
  node.floats({dim});
  node.floats({positions, rotary / 2});
  node.floats({positions, rotary / 2});
  node.add(kOrtInt64, {1, past + tokens});
  node.add(type, {1, kv, slots, dim});
  node.add(type, {1, kv, slots, dim});
  for (int i = 0; i < 2; ++i) {
    if (type == kOrtInt8) {
      node.floats({1, kv, slots});
    } else {
      node.inputs.push_back(std::nullopt);
    }
  }
  node.count(random, tokens);
  return node;
}

Node good(Random& random) {
  const int64_t tokens = random.one_in(10) ? 0 : random.one_in(3) ? 1 : random.below(40);
  switch (random.below(7)) {
    case 0:
      return linear(random, tokens);
    case 1:
      return embedding(random, tokens);
    case 2:
      return mlp(random, tokens);
    case 3:
      return moe(random, tokens);
    case 4:
      return conv(random, tokens);
    case 5:
      return add_norm(random, tokens);
    default:
      return attention(random, tokens);
  }
}

void spoil_shape(Random& random, Value& value) {
  std::vector<int64_t> dims = value.dims;
  const size_t at = static_cast<size_t>(random.below(static_cast<int64_t>(dims.size())));
  switch (random.below(4)) {
    case 0:
      dims[at] = random.below(70);
      break;
    case 1:
      dims[at] += random.pick<int64_t>({-1, 1});
      break;
    case 2:
      dims.insert(dims.begin() + static_cast<ptrdiff_t>(at), random.below(3));
      break;
    default:
      dims.erase(dims.begin() + static_cast<ptrdiff_t>(at));
      break;
  }
  for (int64_t& dim : dims) dim = dim < 0 ? 0 : dim;
  value = Value(value.type, dims);
}

void spoil_values(Random& random, Value& value) {
  for (int i = 0; i < 4 && value.count() > 0; ++i) {
    const int64_t at = random.below(static_cast<int64_t>(value.count()));
    if (value.type == kOrtFloat)
      value.as<float>()[at] = random.pick({INFINITY, NAN, 3e38f, -1e-40f});
    if (value.type == kOrtInt64)
      value.as<int64_t>()[at] = random.pick<int64_t>({-1, INT64_MIN, 99});
  }
}

void spoil(Random& random, Node& node) {
  const int64_t index = random.below(static_cast<int64_t>(node.inputs.size()));
  std::optional<Value>& input = node.inputs[static_cast<size_t>(index)];
  switch (random.below(6)) {
    case 0:
      input.reset();
      break;
    case 1:
      node.inputs.resize(static_cast<size_t>(index));
      break;
    case 2:
      if (input) spoil_values(random, *input);
      break;
    case 3: {
      if (!node.info.texts.empty() && random.one_in(3)) {
        node.info.texts.begin()->second = random.pick<std::string>({"", "q4", "q5", "f32", "int8"});
        break;
      }
      auto attribute = node.info.integers.begin();
      std::advance(attribute, random.below(static_cast<int64_t>(node.info.integers.size())));
      attribute->second = random.pick<int64_t>(
          {-1, 0, 1, 2, 3, 31, 32, 33, 64, 1 << 24, INT64_MAX, INT64_MIN, attribute->second ^ 1});
      break;
    }
    default:
      if (input && !input->dims.empty()) spoil_shape(random, *input);
  }
}

constexpr int kNotRun = 77;  // as ort/CMakeLists.txt tells ctest

}  // namespace

int main(int argc, char** argv) {
  std::string isa_error;
  lfm::choose_isa(isa_error);
  if (!isa_error.empty()) {
    std::printf("NOT RUN: %s\n", isa_error.c_str());
    return kNotRun;
  }
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 10;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint64_t runs = 0, refused = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    Random random(seed + runs);
    Node node = good(random);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool filled = std::count(node.counts.begin(), node.counts.end(), i) != 0;
      if (node.inputs[i] && !filled) random.fill(*node.inputs[i]);
    }
    const int64_t faults = random.below(3);
    for (int64_t i = 0; i < faults && !node.inputs.empty(); ++i) spoil(random, node);
    fake::Call call{node.op, &node.inputs, {}, {}, static_cast<int>(1 + random.below(3))};
    const std::string message = fake::run(node.info, call);
    refused += message.empty() ? 0 : 1;
    const bool named = message.rfind(node.op->GetName(node.op), 0) == 0;
    if (faults == 0 ? !message.empty() : !message.empty() && !named) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed + runs), message.c_str());
      return 1;
    }
  }
  std::printf("ok: %llu nodes, %llu refused\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(refused));
  return 0;
}
