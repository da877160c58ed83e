// Runs a bundle's graph in a real ONNX Runtime, on any machine that has one (or an emulator):
//
//     run_graph LIBONNXRUNTIME LIBLFM_OPS < script > results
//
// The script's lines, a graph first:
//
//     graph PATH VOCAB THREADS
//     state INPUT OUTPUT TYPE BYTES RANK DIMS...   an element's type in ONNX Runtime and its bytes
//     run COUNT IDS...                             appends tokens; writes the last one's logits
//     reset                                        writes every state tensor, then forgets all
//
// State is bound in place. Results are raw and little-endian. Exit code 1: the message is on
// stderr.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "ort_session.h"

namespace {

const OrtApi* api;

void check(OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = ort_GetErrorMessage(api)(status);
  ort_ReleaseStatus(api)(status);
  throw std::runtime_error(message);
}

void load_runtime(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  auto* base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (base == nullptr) throw std::runtime_error(dlerror());
  api = base()->GetApi(kOrtApiVersion);
  if (api == nullptr) throw std::runtime_error("this ONNX Runtime is older than 1.16");
}

/// What one of ONNX Runtime's functions made, released by another.
template <class T>
using Handle = std::unique_ptr<T, void (*)(T*)>;

Handle<OrtValue> tensor_over(void* data, size_t bytes, const std::vector<int64_t>& dims,
                             OrtElementType type) {
  OrtMemoryInfo* info = nullptr;
  check(ort_CreateCpuMemoryInfo(api)(kOrtArenaAllocator, kOrtMemoryDefault, &info));
  const Handle<OrtMemoryInfo> owned(info, ort_ReleaseMemoryInfo(api));
  OrtValue* value = nullptr;
  check(ort_CreateTensorWithDataAsOrtValue(api)(info, data, bytes, dims.data(), dims.size(), type,
                                                &value));
  return {value, ort_ReleaseValue(api)};
}

template <class T>
Handle<OrtValue> tensor_over(std::vector<T>& data, const std::vector<int64_t>& dims,
                             OrtElementType type) {
  return tensor_over(data.data(), data.size() * sizeof(T), dims, type);
}

struct State {
  std::string input, output;
  std::vector<char> bytes;
  Handle<OrtValue> value;
};

State read_state(std::istream& script) {
  std::string input, output;
  OrtElementType type = 0;
  size_t bytes = 0, rank = 0;
  script >> input >> output >> type >> bytes >> rank;
  std::vector<int64_t> dims(rank);
  for (int64_t& dim : dims) {
    script >> dim;
    bytes *= static_cast<size_t>(dim);
  }
  std::vector<char> memory(bytes);
  Handle<OrtValue> value = tensor_over(memory, dims, type);
  return {input, output, std::move(memory), std::move(value)};
}

class Graph {
 public:
  Graph(std::istream& script, const char* ops) {
    std::string path;
    size_t vocab = 0;
    int threads = 0;
    script >> path >> vocab >> threads;
    logits_.resize(vocab);
    OrtEnv* env = nullptr;
    check(ort_CreateEnv(api)(kOrtLogFatal, "run_graph", &env));
    env_.reset(env);
    OrtSessionOptions* options = nullptr;
    check(ort_CreateSessionOptions(api)(&options));
    const Handle<OrtSessionOptions> owned(options, ort_ReleaseSessionOptions(api));
    check(ort_SetIntraOpNumThreads(api)(options, threads));
    check(ort_RegisterCustomOpsLibrary_V2(api)(options, ops));
    OrtSession* session = nullptr;
    check(ort_CreateSession(api)(env, path.c_str(), options, &session));
    session_.reset(session);
  }

  void add(State state) { states_.push_back(std::move(state)); }

  void run(std::vector<int64_t> ids) {
    position_ += ids.size();
    const int64_t count = static_cast<int64_t>(ids.size());
    std::vector<int64_t> mask(position_, 1);
    const auto id_tensor = tensor_over(ids, {1, count}, kOrtInt64);
    const auto mask_tensor = tensor_over(mask, {1, static_cast<int64_t>(position_)}, kOrtInt64);
    const auto logit_tensor =
        tensor_over(logits_, {1, 1, static_cast<int64_t>(logits_.size())}, kOrtFloat);
    std::vector<int64_t> zero{0};
    const auto zero_tensor = tensor_over(zero, {1}, kOrtInt64);
    std::vector<int64_t> last{-1};
    const auto last_tensor = tensor_over(last, {1}, kOrtInt64);
    std::vector<const char*> input_names{"input_ids", "attention_mask", "replayed", "conv_columns",
                                         "logits_at"};
    std::vector<const OrtValue*> inputs{id_tensor.get(), mask_tensor.get(), zero_tensor.get(),
                                        zero_tensor.get(), last_tensor.get()};
    std::vector<const char*> output_names{"logits"};
    std::vector<OrtValue*> outputs{logit_tensor.get()};
    for (const State& state : states_) {
      input_names.push_back(state.input.c_str());
      inputs.push_back(state.value.get());
      output_names.push_back(state.output.c_str());
      outputs.push_back(state.value.get());
    }
    check(ort_Run(api)(session_.get(), nullptr, input_names.data(), inputs.data(), inputs.size(),
                       output_names.data(), outputs.size(), outputs.data()));
    std::fwrite(logits_.data(), sizeof(float), logits_.size(), stdout);
  }

  void reset() {
    for (State& state : states_) {
      std::fwrite(state.bytes.data(), 1, state.bytes.size(), stdout);
      std::fill(state.bytes.begin(), state.bytes.end(), 0);
    }
    position_ = 0;
  }

 private:
  Handle<OrtEnv> env_{nullptr, ort_ReleaseEnv(api)};
  Handle<OrtSession> session_{nullptr, ort_ReleaseSession(api)};
  std::vector<State> states_;
  std::vector<float> logits_;
  size_t position_ = 0;
};

void play(std::istream& script, const char* ops) {
  std::unique_ptr<Graph> graph;
  for (std::string word; script >> word;) {
    if (word == "graph") {
      graph = std::make_unique<Graph>(script, ops);
    } else if (graph == nullptr) {
      throw std::runtime_error("script: got " + word + ", want a graph first");
    } else if (word == "state") {
      graph->add(read_state(script));
    } else if (word == "run") {
      size_t count = 0;
      script >> count;
      std::vector<int64_t> ids(count);
      for (int64_t& id : ids) script >> id;
      graph->run(std::move(ids));
    } else if (word == "reset") {
      graph->reset();
    } else {
      throw std::runtime_error("script: got " + word + ", want state, run or reset");
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: run_graph LIBONNXRUNTIME LIBLFM_OPS < script > results\n");
    return 2;
  }
  try {
    load_runtime(argv[1]);
    play(std::cin, argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "run_graph: %s\n", error.what());
    return 1;
  }
  return 0;
}
