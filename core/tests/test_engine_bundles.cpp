// Real bundles in a real ONNX Runtime, wherever there are some:
//
//     LFM_ONNXRUNTIME=LIBRARY LFM_CORE_BUNDLES=FOLDER test_engine_bundles
//
// Every folder in FOLDER that has a manifest is a bundle. Exit code 77: there are none.
#include <dirent.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "bundle/bundle.h"
#include "check.h"
#include "engine/golden.h"
#include "engine/session.h"
#include "temporary.h"

namespace lfm::core {
namespace {

constexpr int kSkipped = 77;

std::vector<std::string> bundles_in(const std::string& folder) {
  std::vector<std::string> bundles;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), closedir);
  while (const dirent* const entry = open != nullptr ? readdir(open.get()) : nullptr) {
    const std::string bundle = folder + "/" + entry->d_name;
    if (is_file(bundle + "/" + kManifest)) bundles.push_back(bundle);
  }
  std::sort(bundles.begin(), bundles.end());
  return bundles;
}

std::vector<float> row(const float* logits, const Runtime& runtime) {
  return {logits, logits + runtime.vocab_size()};
}

// Tokens of any model.
std::vector<int32_t> some_ids(const Runtime& runtime, int count) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<int32_t>((i * 7919 + 13) % runtime.vocab_size()));
  }
  return ids;
}

void test_files_and_golden_vectors(const std::shared_ptr<const Runtime>& runtime) {
  HashCheck hashes(runtime->shared_bundle());
  Progress last;
  while (const auto progress = hashes.next()) last = *progress;
  CHECK(last.total > 0 && last.done == last.total);
  GoldenCheck golden(runtime);
  while (const auto progress = golden.next()) last = *progress;
  CHECK_EQUAL(last.done, last.total);
  CHECK(golden.worst() > 0 && golden.worst() <= golden.tolerance());
  std::printf("%s: largest error %.3g of a tolerance of %.3g\n", runtime->bundle().folder().c_str(),
              golden.worst(), golden.tolerance());
}

void test_a_session_goes_back_and_its_copies_go_on(const std::shared_ptr<const Runtime>& runtime) {
  const std::vector<int32_t> ids = some_ids(*runtime, 100);
  const TokenIds all(ids);
  Session session(runtime, 128);
  session.prefill(all.part(0, 60));
  session.prefill(all.part(60, 90));
  session.rewind(60);
  const auto fork = session.fork();
  const std::string path = temporary_path("session");
  session.save(path, "attached");
  const OpenedSession opened = Session::open(runtime, path);
  std::remove(path.c_str());
  CHECK_EQUAL(opened.attached, "attached");
  CHECK(opened.session->ids() == session.ids());
  const std::vector<float> expected = row(session.prefill(all.part(90, 100)), *runtime);
  CHECK(row(fork->prefill(all.part(90, 100)), *runtime) == expected);
  CHECK(row(opened.session->prefill(all.part(90, 100)), *runtime) == expected);
  if (runtime->replay() < 0) return;  // stock operators give other bits to other runs
  Session straight(runtime, 128);
  straight.prefill(all.part(0, 60));
  CHECK(row(straight.prefill(all.part(90, 100)), *runtime) == expected);
}

void test_a_reader_that_was_overtaken_is_told(const std::shared_ptr<const Runtime>& runtime) {
  const std::vector<int32_t> ids = some_ids(*runtime, 20);
  Session session(runtime, 32);
  const Reader first = new_reader(), second = new_reader();
  CHECK_EQUAL(session.resume(ids, first).size(), 20u);
  session.read(ids, first);
  CHECK_EQUAL(session.resume(ids, second).size(), runtime->replay() < 0 ? 20u : 1u);
  CHECK(error_of([&] { session.read(ids, first); }).find("went on without") != std::string::npos);
  session.read(session.resume(ids, second), second);
  CHECK_EQUAL(session.position(), 20);
  CHECK(error_of([&] { session.prefill(ids); }).find("the context is full") == 0);
  CHECK_EQUAL(session.position(), 20);
}

int run() {
  const char* const library = std::getenv("LFM_ONNXRUNTIME");
  const char* const folder = std::getenv("LFM_CORE_BUNDLES");
  if (library == nullptr || folder == nullptr) return kSkipped;
  use_onnxruntime(library);
  const std::vector<std::string> bundles = bundles_in(folder);
  if (bundles.empty()) return kSkipped;
  for (const std::string& bundle : bundles) {
    const auto runtime = std::make_shared<const Runtime>(std::make_shared<const Bundle>(bundle), 2);
    test_files_and_golden_vectors(runtime);
    test_a_session_goes_back_and_its_copies_go_on(runtime);
    test_a_reader_that_was_overtaken_is_told(runtime);
  }
  return failures();
}

}  // namespace
}  // namespace lfm::core

int main() {
  try {
    return lfm::core::run();
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
