// Times whole answers through the C ABI, and what of them ONNX Runtime ran the graph:
//
//     time_answers LIBONNXRUNTIME BUNDLE THREADS RUNS REQUEST
//
// REQUEST is that of lfm_generate. Each run is an answer of a session of its own, and is told in a
// line once it has ended: {"tokens", "first_token", "seconds", "graph", "runs"}; `seconds` passed
// behind the first token, `graph` of these in as many `runs` of the graph.
#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "base/json.h"
#include "lfm_core.h"
#include "ort_session.h"

namespace {

using lfm::core::Json;
using Clock = std::chrono::steady_clock;

constexpr int kRunWithBinding = 133;  // its slot
const OrtApiBase* real = nullptr;
OrtApi timed;
Clock::duration in_graph{};
int64_t graph_runs = 0;

OrtStatus* run_timed(OrtSession* session, const OrtRunOptions* options, const OrtIoBinding* io) {
  const Clock::time_point begun = Clock::now();
  OrtStatus* const status = ort_RunWithBinding(real->GetApi(kOrtApiVersion))(session, options, io);
  in_graph += Clock::now() - begun;
  ++graph_runs;
  return status;
}

const OrtApi* get_timed(uint32_t version) {
  const OrtApi* const api = real->GetApi(version);
  if (api == nullptr) return nullptr;
  timed = *api;
  timed.slot[kRunWithBinding] = reinterpret_cast<void*>(run_timed);
  return &timed;
}

void load_real(const char* path) {
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  const auto get = reinterpret_cast<const OrtApiBase* (*)(void)>(dlsym(library, "OrtGetApiBase"));
  if (get == nullptr) throw std::runtime_error(std::string(path) + ": no OrtGetApiBase");
  real = get();
}

void check(LfmStatus status) {
  if (status != LFM_OK && status != LFM_END) throw std::runtime_error(lfm_last_error());
}

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// An answer from its first token on.
Json answer(LfmModel model, const char* request) {
  LfmSession session = 0;
  LfmEvents events = 0;
  check(lfm_session_open(model, 0, &session));
  check(lfm_generate(session, request, &events));
  static char event[1 << 16];
  size_t needed = 0;
  LfmStatus status = LFM_OK;
  Clock::time_point first{};
  std::string last;
  while ((status = lfm_next(events, event, sizeof event, &needed)) == LFM_OK) {
    last = event;
    if (first == Clock::time_point() && Json::parse(last, "event")["type"] != Json("progress")) {
      first = Clock::now();
      in_graph = {};
      graph_runs = 0;
    }
  }
  check(status);
  const double passed = seconds(Clock::now() - first);
  check(lfm_close(events));
  check(lfm_close(session));
  const Json end = Json::parse(last, "event");
  return Json::Object{{"tokens", end["usage"]["generated"]},
                      {"first_token", end["timings"]["time_to_first_token"]},
                      {"seconds", passed},
                      {"graph", seconds(in_graph)},
                      {"runs", graph_runs}};
}

void time_answers(char** words) {
  load_real(words[1]);
  const std::string threads = "{\"threads\": " + std::string(words[3]) + "}";
  LfmModel model = 0;
  check(lfm_model_open(words[2], threads.c_str(), &model));
  for (int left = std::atoi(words[4]); left > 0; --left) {
    in_graph = {};
    graph_runs = 0;
    std::printf("%s\n", answer(model, words[5]).dump().c_str());
    std::fflush(stdout);
  }
  check(lfm_close(model));
}

}  // namespace

// Found by the core, which asks the program before the system.
extern "C" __attribute__((visibility("default"))) const OrtApiBase* OrtGetApiBase(void) {
  static const OrtApiBase base = {get_timed, real->GetVersionString};
  return &base;
}

int main(int count, char** words) {
  if (count != 6) {
    std::fprintf(stderr, "usage: time_answers LIBONNXRUNTIME BUNDLE THREADS RUNS REQUEST\n");
    return 2;
  }
  try {
    time_answers(words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "time_answers: %s\n", error.what());
    return 1;
  }
  return 0;
}
