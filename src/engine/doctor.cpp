// The doctor: what generation needs, what of it is there, what is missing and how to get it.
#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/platform.hpp"
#include "engine/engine.hpp"
#include "pipeline/backend_library.hpp"
#include "pipeline/model_folder.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace gf::engine {
namespace {

/// The list at the report's end, written while the rest is.
class Problems {
 public:
  Problems() { out_.begin_array(); }

  void add(Status status, std::string_view what, std::string_view how) {
    out_.begin_object().member("status", static_cast<std::int32_t>(status)).member("what", what).member("how", how);
    out_.end_object();
  }
  void add(const Error& error) {
    const auto* entry = find_status(static_cast<std::int32_t>(error.status));
    add(error.status, error.message, entry == nullptr ? std::string_view() : entry->hint);
  }
  std::string end() && { return std::move(out_.end_array()).str(); }

 private:
  JsonText out_;
};

void examine_backend(JsonText& out, const EngineOptions& options, Problems& problems) {
  const auto path = options.backend_path.empty() ? pipeline::default_backend_path() : options.backend_path;
  out.begin_object().member("path", path).member("found", is_regular_file(path));
  auto library = pipeline::BackendLibrary::open(path);
  Result<std::shared_ptr<pipeline::Backend>> backend =
      library ? pipeline::Backend::create(std::move(library).value(), {nullptr, options.ledger.get(), options.clock})
              : Result<std::shared_ptr<pipeline::Backend>>(std::move(library).error());
  out.member("usable", backend.has_value());
  if (backend) {
    out.member("name", backend.value()->name()).member("version", backend.value()->version());
    out.key("build").json(backend.value()->build_json());
  } else {
    out.member("problem", backend.error().message);
    problems.add(backend.error());
  }
  out.end_object();
}

/// Whether it can be used.
bool examine_model(JsonText& out, const pipeline::ModelFolders& folders, const pipeline::ModelName& name,
                   Problems& problems) {
  const auto description = folders.inspect(name);
  out.begin_object().member("name", name.name).member("path", name.path).member("usable", description.has_value());
  if (description) {
    const auto& model = *description.value();
    out.member("family", model.family);
    if (!model.warnings.empty()) out.member("warnings", model.warnings);
  } else {
    out.member("problem", description.error().message);
    problems.add(description.error());
  }
  out.end_object();
  return description.has_value();
}

void examine_models(JsonText& out, const EngineOptions& options, Problems& problems) {
  std::size_t usable = 0;
  out.begin_array();
  for (const auto& folder : options.model_folders) {
    const bool exists = is_directory(folder);
    if (!exists) {
      problems.add(Status::not_found, fmt::format("the model folder {} does not exist", folder),
                   "create it and put models into it, or name another one");
    }
    out.begin_object().member("path", folder).member("exists", exists).key("models").begin_array();
    const pipeline::ModelFolders one({folder}, false);
    for (const auto& name : one.list()) usable += examine_model(out, one, name, problems) ? 1 : 0;
    out.end_array().end_object();
  }
  out.end_array();
  if (usable == 0 && !options.allow_model_paths) {
    problems.add(Status::not_found, "no usable model is in the model folders",
                 "put a diffusers folder, one that has a model_index.json, into a model folder");
  }
}

}  // namespace

Result<std::string> doctor_json(EngineOptions options, std::string_view library_json) {
  GF_TRY(const auto used, checked(std::move(options)));
  Problems problems;
  JsonText out;
  out.begin_object().key("library").json(library_json).key("backend");
  examine_backend(out, used, problems);
  out.key("model_folders");
  examine_models(out, used, problems);
  out.key("processor").begin_object().member("usable_cores", usable_cores()).end_object();
  out.key("memory").begin_object().member("physical_bytes", physical_memory_bytes());
  out.member("resident_bytes", resident_bytes()).end_object();
  out.key("problems").json(std::move(problems).end()).end_object();
  return std::move(out).str();
}

}  // namespace gf::engine
