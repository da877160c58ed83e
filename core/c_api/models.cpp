// Bundles and models.
#include "c_api/calls.h"
#include "engine/memory_plan.h"

using namespace lfm::core;

LfmStatus lfm_bundle_plan(const char* folder, int64_t context, char* buffer, size_t size,
                          size_t* needed) {
  return guarded([&] {
    const Bundle bundle(require_path(folder, "folder"));
    const MemoryPlan plan = plan_memory(bundle, context);
    const std::string problem = chat_problem(bundle);
    const Json found = Json::Object{{"weights", plan.weights},
                                    {"state", plan.state},
                                    {"scratch", plan.scratch},
                                    {"total", plan.total()},
                                    {"context", plan.context},
                                    {"max_context", plan.max_context},
                                    {"bytes_per_token", plan.bytes_per_token},
                                    {"family", bundle.manifest().model.family},
                                    {"target", bundle.manifest().graph.target},
                                    {"chat", problem.empty() ? Json() : Json(problem)}};
    return give_json(found, buffer, size, needed);
  });
}

LfmStatus lfm_bundle_check(const char* folder, LfmEvents* events) {
  return guarded([&] {
    require_place(events, "events");
    return give_handle(HandleKind::kEvents, check_events(require_path(folder, "folder")), events);
  });
}

LfmStatus lfm_model_open(const char* folder, const char* options, LfmModel* model) {
  return guarded([&] {
    require_place(model, "model");
    auto opened =
        std::make_shared<Model>(require_path(folder, "folder"), optional_json(options, "options"));
    return give_handle(HandleKind::kModel, std::move(opened), model);
  });
}

LfmStatus lfm_model_info(LfmModel model, char* buffer, size_t size, size_t* needed) {
  return guarded([&] { return give_json(model_of(model)->info(), buffer, size, needed); });
}

LfmStatus lfm_model_verify(LfmModel model, LfmEvents* events) {
  return guarded([&] {
    require_place(events, "events");
    return give_handle(HandleKind::kEvents, golden_events(model_of(model)->runtime()), events);
  });
}
