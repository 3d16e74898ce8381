// The doctor: what generation needs, what of it is there, what is missing and how to get it.
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/platform.hpp"
#include "engine/engine.hpp"
#include "pipeline/backend_library.hpp"
#include "pipeline/model_folder.hpp"

#include <fmt/format.h>

#include <utility>

namespace gf::engine {
namespace {

Json problem_of(const Error& error) {
  const auto* entry = find_status(static_cast<std::int32_t>(error.status));
  return {{"status", static_cast<std::int32_t>(error.status)},
          {"what", error.message},
          {"how", entry == nullptr ? std::string_view{} : entry->hint}};
}

Json examine_backend(const EngineOptions& options, Json& problems) {
  const auto path = options.backend_path.empty() ? pipeline::default_backend_path() : options.backend_path;
  Json out = {{"path", path}, {"found", is_regular_file(path)}, {"usable", false}};
  const auto opened = [&]() -> Result<void> {
    GF_TRY(auto library, pipeline::BackendLibrary::open(path));
    GF_TRY(const auto backend,
           pipeline::Backend::create(std::move(library), {nullptr, options.ledger.get(), options.clock}));
    out["usable"] = true;
    out["name"] = backend->name();
    out["version"] = backend->version();
    auto build = parse_json(backend->build_json(), "build_json");
    out["build"] = build ? std::move(build).value() : Json(nullptr);
    return success();
  }();
  if (!opened) {
    out["problem"] = opened.error().message;
    problems.push_back(problem_of(opened.error()));
  }
  return out;
}

Json examine_models(const EngineOptions& options, Json& problems) {
  Json out = Json::array();
  std::size_t usable = 0;
  for (const auto& folder : options.model_folders) {
    const pipeline::ModelFolders one({folder}, false);
    Json models = Json::array();
    const bool exists = is_directory(folder);
    if (!exists) {
      problems.push_back({{"status", static_cast<std::int32_t>(Status::not_found)},
                          {"what", fmt::format("the model folder {} does not exist", folder)},
                          {"how", "create it and put models into it, or name another one"}});
    }
    for (const auto& name : one.list()) {
      const auto description = one.inspect(name);
      Json model = {{"name", name.name}, {"path", name.path}, {"usable", description.has_value()}};
      if (description) {
        ++usable;
        model["family"] = description.value()->family;
        if (!description.value()->warnings.empty()) model["warnings"] = description.value()->warnings;
      } else {
        model["problem"] = description.error().message;
        problems.push_back(problem_of(description.error()));
      }
      models.push_back(std::move(model));
    }
    out.push_back({{"path", folder}, {"exists", exists}, {"models", std::move(models)}});
  }
  if (usable == 0 && !options.allow_model_paths) {
    problems.push_back({{"status", static_cast<std::int32_t>(Status::not_found)},
                        {"what", "no usable model is in the model folders"},
                        {"how", "put a diffusers folder, one that has a model_index.json, into a model folder"}});
  }
  return out;
}

}  // namespace

Result<std::string> doctor_json(EngineOptions options) {
  GF_TRY(const auto used, checked(std::move(options)));
  Json problems = Json::array();
  Json out = {{"backend", examine_backend(used, problems)}, {"model_folders", examine_models(used, problems)}};
  out["processor"] = {{"usable_cores", usable_cores()}};
  out["memory"] = {{"physical_bytes", physical_memory_bytes()}, {"resident_bytes", resident_bytes()}};
  out["problems"] = std::move(problems);
  return to_text(out);
}

}  // namespace gf::engine
