// Configuration for hosts that want a file or the environment: read, checked as a whole, each value with its origin.
#pragma once

#include "base/log.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace gf::engine {

enum class ConfigOrigin { file, environment };

/// A value that was set, and where.
template <class T>
struct ConfigValue {
  T value{};
  ConfigOrigin origin = ConfigOrigin::file;
};

/// What a file or the environment sets; all else is left to the defaults of gf_engine_options. Ranges are the engine's
/// business, which checks them for every host alike. Immutable after load_config.
struct Config {
  std::optional<ConfigValue<std::vector<std::string>>> model_folders;
  std::optional<ConfigValue<std::uint32_t>> executor_count;
  std::optional<ConfigValue<std::uint32_t>> thread_count;
  std::optional<ConfigValue<std::uint32_t>> queue_limit;
  std::optional<ConfigValue<std::uint32_t>> retained_job_count;
  std::optional<ConfigValue<LogLevel>> log_level;
  std::optional<ConfigValue<bool>> allow_model_paths;
  std::optional<ConfigValue<std::string>> backend_path;
};

/// Gives the value of an environment variable, or nullopt. Passed in, so that nothing here reads the environment.
using EnvironmentReader = std::function<std::optional<std::string>(const std::string& name)>;

/// Reads a TOML file and what `environment` has, which wins.
///
/// path:        nullopt: no file. Relative folders in it are relative to the folder of the file.
/// environment: empty: it is not looked at. GAMEFORGE_MODEL_FOLDERS separates folders by colons.
///
/// Errors: not_found, unauthorised, io_error, payload_too_large (over 1 MiB); syntax_error with line and column;
/// invalid_argument, which names every unknown key and every value of the wrong kind at once, each also as a cause.
Result<Config> load_config(const std::optional<std::string>& path, const EnvironmentReader& environment);

/// {"executor_count": {"value": 2, "origin": "file"}, ...}: what is set, and nothing else.
std::string to_json(const Config& config);

}  // namespace gf::engine
