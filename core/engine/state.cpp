#include "engine/state.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "base/error.h"
#include "engine/saturated.h"

namespace lfm::core {
namespace {

OrtElementType onnx_type(ElementType type) {
  constexpr OrtElementType types[] = {kOrtFloat, kOrtFloat16, kOrtInt8, kOrtInt64};
  return types[static_cast<size_t>(type)];
}

[[noreturn]] void refuse_for_memory(const Runtime& runtime, int64_t capacity) {
  int64_t size = 0;
  for (const StateTensor& tensor : runtime.state_tensors()) {
    size = saturated_sum(size, state_bytes(tensor, capacity));
  }
  throw Error(LFM_BUNDLE, "no memory for the " + grouped(size) + " bytes of state of " +
                              grouped(capacity) + " tokens and " + grouped(runtime.vocab_size()) +
                              " logits; take a smaller context");
}

ZeroPages pages(int64_t size) { return ZeroPages(static_cast<size_t>(size)); }

}  // namespace

std::vector<int64_t> state_shape(const StateTensor& tensor, int64_t capacity) {
  std::vector<int64_t> shape = tensor.shape;
  std::replace(shape.begin(), shape.end(), kCapacity, capacity);
  return shape;
}

int64_t state_bytes(const StateTensor& tensor, int64_t capacity) {
  int64_t size = bytes_of(tensor.dtype);
  for (const int64_t axis : state_shape(tensor, capacity)) size = saturated_product(size, axis);
  return size;
}

std::vector<int64_t> held_shape(const StateTensor& tensor, int64_t held) {
  std::vector<int64_t> shape = state_shape(tensor, held);
  int64_t& positions = shape[static_cast<size_t>(tensor.positions_axis())];
  positions = std::min(positions, held);
  return shape;
}

HeldParts::HeldParts(const StateTensor& tensor, int64_t capacity, int64_t held) {
  const auto axis = static_cast<size_t>(tensor.positions_axis());
  auto position = static_cast<size_t>(bytes_of(tensor.dtype));
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    if (i == axis) continue;
    (i < axis ? count : position) *= static_cast<size_t>(tensor.shape[i]);
  }
  size = position * static_cast<size_t>(held_shape(tensor, held)[axis]);
  stride = position * static_cast<size_t>(state_shape(tensor, capacity)[axis]);
}

// What is bound to the graph. All of it is set once but the tokens of longer runs and the mask,
// whose shapes differ from run to run.
struct State::Binding {
  Binding(const Runtime& runtime, const std::vector<ZeroPages>& tensors, int64_t capacity)
      : ort(*runtime.ort_),
        session(runtime.session_.get()),
        what(runtime.bundle().manifest().graph.file + ": failed to run"),
        ports(runtime.ports()),
        logits(pages(saturated_product(runtime.vocab_size(), sizeof(float)))),
        mask(pages(saturated_product(capacity, sizeof(int64_t)))),
        ids(kPrefillChunk) {
    make_handles();
    bind_state(runtime, tensors, capacity);
    bind_counts();
    output(ports.logits, tensor(logits.data(), {1, 1, runtime.vocab_size()}, kOrtFloat));
    one_token = tensor(ids.data(), {1, 1}, kOrtInt64);
  }

  void run(const int32_t* tokens, int64_t count, int64_t position, int64_t replays,
           int64_t replays_in_windows) {
    std::copy_n(tokens, count, ids.begin());
    replayed = replays;
    replayed_windows = replays_in_windows;
    bind_tokens(count);
    bind_mask(position + count);
    ort.check(ort_RunWithBinding(ort.api)(session, options.get(), io.get()), what);
  }

  const Ort& ort;
  OrtSession* const session;
  const std::string what;
  const Function& ports;
  ZeroPages logits;

 private:
  using Value = OrtHandle<OrtValue>;

  void make_handles() {
    OrtMemoryInfo* new_info = nullptr;
    ort.check(ort_CreateCpuMemoryInfo(ort.api)(kOrtArenaAllocator, kOrtMemoryDefault, &new_info),
              what);
    info = {new_info, ort_ReleaseMemoryInfo(ort.api)};
    OrtRunOptions* new_options = nullptr;
    ort.check(ort_CreateRunOptions(ort.api)(&new_options), what);
    options = {new_options, ort_ReleaseRunOptions(ort.api)};
    OrtIoBinding* new_io = nullptr;
    ort.check(ort_CreateIoBinding(ort.api)(session, &new_io), what);
    io = {new_io, ort_ReleaseIoBinding(ort.api)};
  }

  void bind_state(const Runtime& runtime, const std::vector<ZeroPages>& tensors, int64_t capacity) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      const StateTensor& described = runtime.state_tensors()[i];
      const Value value =
          tensor(tensors[i].data(), state_shape(described, capacity), onnx_type(described.dtype));
      input(*described.input, value);
      output(*described.output, value);
    }
  }

  void bind_counts() {
    if (const auto& port = ports.port(InputRole::kReplayed)) {
      input(*port, tensor(&replayed, {1}, kOrtInt64));
    }
    if (const auto& port = ports.port(InputRole::kReplayedWindows)) {
      input(*port, tensor(&replayed_windows, {1}, kOrtInt64));
    }
    if (const auto& port = ports.port(InputRole::kConvColumns)) {
      input(*port, tensor(&conv_columns, {1}, kOrtInt64));
    }
    if (const auto& port = ports.port(InputRole::kLogitsAt)) {
      input(*port, tensor(&last, {1}, kOrtInt64));
    }
  }

  void bind_tokens(int64_t count) {
    if (count == bound_tokens) return;
    if (count == 1) {
      input(ports.input_ids, one_token);
    } else {
      input(ports.input_ids, tensor(ids.data(), {1, count}, kOrtInt64));
    }
    bound_tokens = count;
  }

  // Ones, whose number tells where the tokens go.
  void bind_mask(int64_t length) {
    auto* const ones = reinterpret_cast<int64_t*>(mask.data());
    for (; filled < length; ++filled) ones[filled] = 1;
    input(*ports.port(InputRole::kAttentionMask), tensor(ones, {1, length}, kOrtInt64));
  }

  void input(const std::string& port, const Value& value) {
    ort.check(ort_BindInput(ort.api)(io.get(), port.c_str(), value.get()), what);
  }

  void output(const std::string& port, const Value& value) {
    ort.check(ort_BindOutput(ort.api)(io.get(), port.c_str(), value.get()), what);
  }

  template <class Shape>
  Value tensor_of(void* data, const Shape& shape, OrtElementType type) {
    size_t size = type == kOrtInt64 ? 8 : type == kOrtFloat ? 4 : type == kOrtFloat16 ? 2 : 1;
    for (const int64_t axis : shape) size *= static_cast<size_t>(axis);
    OrtValue* value = nullptr;
    ort.check(ort_CreateTensorWithDataAsOrtValue(ort.api)(info.get(), data, size, &*shape.begin(),
                                                          shape.size(), type, &value),
              what);
    return {value, ort_ReleaseValue(ort.api)};
  }

  Value tensor(void* data, std::initializer_list<int64_t> shape, OrtElementType type) {
    return tensor_of(data, shape, type);
  }

  Value tensor(void* data, const std::vector<int64_t>& shape, OrtElementType type) {
    return tensor_of(data, shape, type);
  }

  ZeroPages mask;
  int64_t filled = 0;  // of the mask
  std::vector<int64_t> ids;
  int64_t bound_tokens = 0;
  int64_t replayed = 0, replayed_windows = 0, conv_columns = 0, last = -1;
  OrtHandle<OrtMemoryInfo> info{nullptr, nullptr};
  OrtHandle<OrtRunOptions> options{nullptr, nullptr};
  OrtHandle<OrtIoBinding> io{nullptr, nullptr};
  Value one_token{nullptr, nullptr};
};

State::State(std::shared_ptr<const Runtime> runtime, int64_t capacity)
    : runtime_(std::move(runtime)), capacity_(capacity) {
  try {
    for (const StateTensor& tensor : runtime_->state_tensors()) {
      tensors_.push_back(pages(state_bytes(tensor, capacity)));
    }
    binding_ = std::make_unique<Binding>(*runtime_, tensors_, capacity);
  } catch (const std::bad_alloc&) {
    refuse_for_memory(*runtime_, capacity);
  }
}

State::~State() = default;

float* State::run(const int32_t* ids, int64_t count, int64_t position, int64_t replayed,
                  bool anew) {
  binding_->run(ids, count, position, replayed, anew ? 0 : replayed);
  return reinterpret_cast<float*>(binding_->logits.data());
}

Conv State::conv() const {
  auto copy = std::make_shared<std::vector<char>>();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (runtime_->state_tensors()[i].kind != StateKind::kConv) continue;
    copy->insert(copy->end(), tensors_[i].data(), tensors_[i].data() + tensors_[i].size());
  }
  return copy;
}

void State::set_conv(const Conv& conv) {
  const char* from = conv ? conv->data() : nullptr;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (runtime_->state_tensors()[i].kind != StateKind::kConv) continue;
    if (from == nullptr) {
      std::memset(tensors_[i].data(), 0, tensors_[i].size());
    } else {
      std::memcpy(tensors_[i].data(), from, tensors_[i].size());
      from += tensors_[i].size();
    }
  }
}

}  // namespace lfm::core
