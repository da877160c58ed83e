// A measurement as the JSON of `lfm-edge bench`, and as a table.
#pragma once

#include <string>
#include <vector>

#include "bench/measure.h"

namespace lfm::bench {

struct Result {
  Samples samples;
  std::vector<Moment> sustained;
  double load_seconds = 0;
  core::Json info;    // lfm_model_info, asked last
  core::Json golden;  // the event of the proof; null where there was none
};

core::Json to_json(const Result& result, const Arguments& arguments);

std::string table(const core::Json& result);

// Writes a text beside its place and renames it there. CoreError where it cannot.
void write_text(const std::string& path, const std::string& text);

}  // namespace lfm::bench
