// Parts of the engine that need no graph.
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"
#include "engine/checkpoints.h"
#include "engine/contents.h"
#include "engine/safetensors.h"
#include "engine/sampling_options.h"
#include "engine/saturated.h"
#include "engine/threads.h"
#include "engine/token_ids.h"
#include "engine/zero_pages.h"
#include "temporary.h"

namespace lfm::core {
namespace {

std::vector<int64_t> ends_of(const std::vector<Run>& runs) {
  std::vector<int64_t> ends;
  for (const Run& run : runs) ends.push_back(run.end);
  return ends;
}

void test_runs_leave_room_for_what_is_read_again() {
  CHECK(runs_of(0).empty());
  CHECK(ends_of(runs_of(512)) == (std::vector<int64_t>{512}));
  CHECK(ends_of(runs_of(1100)) == (std::vector<int64_t>{512, 1024, 1100}));
  CHECK(ends_of(runs_of(600, 36)) == (std::vector<int64_t>{476, 600}));
  CHECK(ends_of(runs_of(600, 512)) == (std::vector<int64_t>{512, 600}));
}

void test_checkpoints_thin_out_where_they_stand_closest() {
  Checkpoints kept;
  CHECK_EQUAL(kept.last(), 0);
  for (int64_t position = 1; position <= 200; ++position) kept.add(position * 10, nullptr);
  CHECK_EQUAL(kept.last(), 2000);
  CHECK_EQUAL(kept.before(2000).position, 2000);
  CHECK_EQUAL(kept.before(5).position, 0);
  int count = 0;
  for (int64_t position = 2000; position > 0; position = kept.before(position - 1).position) {
    ++count;
  }
  CHECK_EQUAL(count, 64);
  kept.drop_after(1000);
  CHECK(kept.last() <= 1000 && kept.last() > 0);
  kept.add(300, nullptr);
  CHECK_EQUAL(kept.last(), 300);
}

void test_ids_are_held_to_the_vocabulary() {
  const std::vector<int32_t> ids{1, 2, 9}, others{1, 2, 3, 4};
  CHECK_EQUAL(common(ids, others), 2u);
  CHECK_EQUAL(common(ids, std::vector<int32_t>{}), 0u);
  CHECK_EQUAL(error_of([&] { require_ids(ids, 10); }), "");
  CHECK_EQUAL(error_of([&] { require_ids(ids, 9); }),
              "token id 9: outside the vocabulary, expected 0 to 8");
}

void test_sizes_saturate() {
  CHECK_EQUAL(saturated_product(kLargest / 2, 3), kLargest);
  CHECK_EQUAL(saturated_product(3, 4), 12);
  CHECK_EQUAL(saturated_sum(kLargest, 1), kLargest);
}

void test_sampling_options_are_held_to_their_ranges() {
  SamplingOptions options;
  check_sampling(options);
  options.temperature = -0.5;
  CHECK_EQUAL(error_of([&] { check_sampling(options); }),
              "temperature: got -0.5, expected a number from 0 to 1e6");
  options.temperature = 1;
  options.top_k = int64_t{1} << 40;
  CHECK_EQUAL(native_options(options, 3).top_k, 2147483647);
}

void test_memory_is_zeros() {
  const ZeroPages pages(1 << 20), none(0);
  CHECK_EQUAL(pages.data()[12345], 0);
  CHECK(none.data() == nullptr);
}

void test_there_is_a_thread() {
  CHECK(default_threads() >= 1 && default_threads() <= kMostThreads);
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string reason_of(const std::string& path) {
  try {
    const SafetensorsFile file(path);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

void test_tensors_come_back_and_damage_is_told() {
  const std::string path = temporary_path("tensors");
  const std::string ids("\1\0\0\0\2\0\0\0", 8), values("abcd");
  write_safetensors(path,
                    {{"values", "I8", {2, 2}, [&](const auto& take) { take(values.data(), 4); }},
                     {"ids", "I32", {2}, [&](const auto& take) { take(ids.data(), 8); }}},
                    {{"text", "\xc3\xa9\"\n"}});
  const SafetensorsFile file(path);
  CHECK_EQUAL(file.metadata().at("text"), "\xc3\xa9\"\n");
  CHECK_EQUAL(file.tensors().at("values").bytes, values);
  CHECK_EQUAL(file.tensors().at("ids").bytes, ids);
  CHECK(file.tensors().at("values").shape == (std::vector<int64_t>{2, 2}));
  const auto wrong = [&](const std::string& header, const std::string& data) {
    std::string length(8, '\0');
    length[0] = static_cast<char>(header.size());
    write(path, length + header + data);
    return !reason_of(path).empty();
  };
  const std::string begin = "{\"a\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":";
  CHECK(!wrong(begin + "[0,2]}}", "xy"));
  CHECK(wrong(begin + "[0,2]}}", "xyz"));
  CHECK(wrong(begin + "[0,2]}}", "x"));
  CHECK(wrong(begin + "[1,3]}}", "xyz"));
  CHECK(wrong(begin + "[2,0]}}", "xy"));
  CHECK(wrong(begin + "[0,3]}}", "xyz"));
  CHECK(wrong(begin + "[0,-2]}}", "xy"));
  CHECK(wrong("[]", ""));
  CHECK(wrong("{\"__metadata__\":{\"a\":1}}", ""));
  write(path, "short");
  CHECK(!reason_of(path).empty());
  write(path, std::string(8, '\xff') + "{}");
  CHECK(!reason_of(path).empty());
  std::remove(path.c_str());
}

}  // namespace
}  // namespace lfm::core

int main() {
  lfm::core::test_runs_leave_room_for_what_is_read_again();
  lfm::core::test_checkpoints_thin_out_where_they_stand_closest();
  lfm::core::test_ids_are_held_to_the_vocabulary();
  lfm::core::test_sizes_saturate();
  lfm::core::test_sampling_options_are_held_to_their_ranges();
  lfm::core::test_memory_is_zeros();
  lfm::core::test_there_is_a_thread();
  lfm::core::test_tensors_come_back_and_damage_is_told();
  return lfm::core::failures();
}
