#include "answer/pieces.h"

namespace lfm::core {
namespace {

Json json_of(const Progress& progress) {
  return Json::Object{{"type", "progress"},
                      {"what", progress.what},
                      {"done", progress.done},
                      {"total", progress.total}};
}

Json json_of(const Reasoning& reasoning) {
  return Json::Object{{"type", "reasoning"}, {"text", reasoning.text}};
}

Json json_of(const Text& text) { return Json::Object{{"type", "text"}, {"text", text.text}}; }

Json json_of(const ToolCall& call) {
  return Json::Object{{"type", "tool_call"}, {"name", call.name}, {"arguments", call.arguments}};
}

Json json_of(const InvalidToolCall& invalid) {
  return Json::Object{
      {"type", "invalid_tool_call"}, {"text", invalid.text}, {"message", invalid.error}};
}

Json json_of(const End& end) {
  const Usage& usage = end.usage;
  return Json::Object{
      {"type", "end"},
      {"reason", end.reason},
      {"usage", Json::Object{{"reused", usage.reused},
                             {"processed", usage.processed},
                             {"generated", usage.generated},
                             {"proposed", 0},  // of speculation, which a device does not have
                             {"accepted", 0},
                             {"reasoning", usage.reasoning}}},
      {"timings",
       Json::Object{{"time_to_first_token", end.time_to_first_token}, {"total", end.total}}}};
}

}  // namespace

Json as_json(const Piece& piece) {
  return std::visit([](const auto& value) { return json_of(value); }, piece);
}

Piece as_piece(Event event) {
  return std::visit([](auto& value) { return Piece(std::move(value)); }, event);
}

}  // namespace lfm::core
