// Configuration at the ABI: for hosts that ask for a file or the environment to be read.
#include "engine/config.hpp"

#include "buffers.hpp"
#include "engine_options.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

using gf::Result;
using namespace gf::capi;

namespace gf::capi {

ConfigTable& configs() {
  static auto& table = *new ConfigTable;
  return table;
}

}  // namespace gf::capi

extern "C" {

gf_status gf_config_load(const char* path, uint32_t use_environment, gf_config** out_config) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_config, "out_config"));
    GF_TRY(const auto wanted, truth(use_environment, "use_environment"));
    std::optional<std::string> file;
    if (path != nullptr) file = path;
    gf::engine::EnvironmentReader environment;
    if (wanted) {
      // The one place where the library looks at the environment: here the host asks for it.
      environment = [](const std::string& name) -> std::optional<std::string> {
        const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): the host's to see to.
        if (value == nullptr) return std::nullopt;
        return std::string(value);
      };
    }
    GF_TRY(auto config, gf::engine::load_config(file, environment));
    *out_config = configs().insert(std::make_shared<const SharedConfig>(std::move(config)));
    return gf::success();
  });
}

gf_status gf_config_read(gf_config* config, gf_engine_options* options) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(configs(), config, "config"));
    GF_TRYV(check_out(options, first_engine_options_bytes, "options"));
    gf_engine_options set = GF_ENGINE_OPTIONS_INIT;
    std::memcpy(&set, options, std::min<std::size_t>(options->struct_size, sizeof set));
    const auto& read = found->config;
    if (read.executor_count) set.executor_count = read.executor_count->value;
    if (read.thread_count) set.thread_count = read.thread_count->value;
    if (read.queue_limit) set.queue_limit = read.queue_limit->value;
    if (read.retained_job_count) set.retained_job_count = read.retained_job_count->value;
    if (read.log_level) set.log_level = static_cast<std::uint32_t>(read.log_level->value);
    if (read.allow_model_paths) set.allow_model_paths = read.allow_model_paths->value ? 1 : 0;
    if (read.model_folders) {
      set.model_folders = found->model_folders.data();
      set.model_folder_count = static_cast<std::uint32_t>(found->model_folders.size());
    }
    if (read.backend_path) set.backend_path = read.backend_path->value.c_str();
    write_out(options, set);
    return gf::success();
  });
}

gf_status gf_config_json(gf_config* config, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(configs(), config, "config"));
    return give_text(gf::engine::to_json(found->config), buffer, size);
  });
}

gf_status gf_config_release(gf_config* config) {
  return firewall([&] { return release(configs(), config, "config"); });
}

}  // extern "C"
