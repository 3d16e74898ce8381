#include "engine/config.hpp"

#include "base/files.hpp"
#include "base/json_text.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

// Errors are values here, too. In the header's own namespace, so that no other object meets another variant of it.
#ifndef TOML_EXCEPTIONS
#define TOML_EXCEPTIONS 0
#endif
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <limits>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gf::engine {
namespace {

constexpr std::uint64_t max_file_bytes = std::uint64_t{1} << 20;
constexpr std::array<std::string_view, 5> level_names = {"off", "error", "warning", "info", "debug"};

/// How a value is written in either place; nullopt from a reader means that it is not what `expected` says.
template <class T>
struct Kind {
  const char* expected;
  std::optional<T> (*from_node)(const toml::node& node);
  std::optional<T> (*from_text)(const std::string& text);
};

std::optional<std::string> path_of_text(const std::string& text) {
  // A NUL would end the path early wherever C reads it.
  if (text.empty() || text.find('\0') != std::string::npos) return std::nullopt;
  return text;
}

std::optional<std::string> path_of(const toml::node& node) {
  const auto text = node.value_exact<std::string>();
  return text ? path_of_text(*text) : std::nullopt;
}

std::optional<std::uint32_t> number_of(const toml::node& node) {
  const auto number = node.value_exact<std::int64_t>();
  if (!number || *number < 0 || *number > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

std::optional<std::uint32_t> number_of_text(const std::string& text) {
  std::uint32_t number = 0;
  const auto end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return number;
}

std::optional<LogLevel> level_of_text(const std::string& text) {
  const auto found = std::find(level_names.begin(), level_names.end(), text);
  if (found == level_names.end()) return std::nullopt;
  return static_cast<LogLevel>(found - level_names.begin());
}

std::optional<LogLevel> level_of(const toml::node& node) {
  const auto text = node.value_exact<std::string>();
  return text ? level_of_text(*text) : std::nullopt;
}

std::optional<bool> truth_of(const toml::node& node) { return node.value_exact<bool>(); }

std::optional<bool> truth_of_text(const std::string& text) {
  if (text == "1" || text == "true") return true;
  if (text == "0" || text == "false") return false;
  return std::nullopt;
}

std::optional<std::vector<std::string>> folders_of(const toml::node& node) {
  const auto* list = node.as_array();
  if (list == nullptr) return std::nullopt;
  std::vector<std::string> folders;
  for (const auto& entry : *list) {
    auto folder = path_of(entry);
    if (!folder) return std::nullopt;
    folders.push_back(std::move(*folder));
  }
  return folders;
}

std::optional<std::vector<std::string>> folders_of_text(const std::string& text) {
  std::vector<std::string> folders;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find(':', begin), text.size());
    // An empty entry is left out, as a colon at an end of PATH often makes one.
    if (end > begin) folders.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return folders;
}

constexpr Kind<std::uint32_t> number = {"a whole number of 0 to 4294967295", number_of, number_of_text};
constexpr Kind<std::string> path = {"a path", path_of, path_of_text};
constexpr Kind<bool> truth = {"true or false", truth_of, truth_of_text};
constexpr Kind<LogLevel> level = {R"("off", "error", "warning", "info" or "debug")", level_of, level_of_text};
constexpr Kind<std::vector<std::string>> folder_list = {"a list of paths", folders_of, folders_of_text};

/// Calls visit(name, setting, kind) for every key there is: the one list of them.
template <class AnyConfig, class Visitor>
void for_each_key(AnyConfig& config, Visitor&& visit) {
  visit("model_folders", config.model_folders, folder_list);
  visit("executor_count", config.executor_count, number);
  visit("thread_count", config.thread_count, number);
  visit("queue_limit", config.queue_limit, number);
  visit("retained_job_count", config.retained_job_count, number);
  visit("log_level", config.log_level, level);
  visit("allow_model_paths", config.allow_model_paths, truth);
  visit("backend_path", config.backend_path, path);
}

std::string environment_name(std::string_view key) {
  std::string name = "GAMEFORGE_";
  for (const char letter : key) name += letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  return name;
}

void resolve(std::string& entry, const std::string& folder) {
  if (!entry.starts_with('/') && !folder.empty()) entry = join_path(folder, entry);
}

Result<void> read_file(const std::string& file, Config& config, std::vector<std::string>& problems) {
  GF_TRY(const auto text, read_text(file, max_file_bytes));
  const auto parsed = toml::parse(std::string_view(text));
  if (!parsed) {
    const auto& problem = parsed.error();
    const auto at = problem.source().begin;
    return Error{Status::syntax_error,
                 fmt::format("{}: line {}, column {}: {}", file, at.line, at.column, problem.description()),
                 {}};
  }
  const auto& table = parsed.table();

  std::vector<std::string_view> known;
  for_each_key(config, [&]<class T>(std::string_view key, std::optional<ConfigValue<T>>& setting, const Kind<T>& kind) {
    known.push_back(key);
    const auto* node = table.get(key);
    if (node == nullptr) return;
    if (auto value = kind.from_node(*node)) {
      setting = ConfigValue<T>{std::move(*value), ConfigOrigin::file};
    } else {
      problems.push_back(
          fmt::format("{}: line {}: {} must be {}", file, node->source().begin.line, key, kind.expected));
    }
  });
  for (const auto& [key, node] : table) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    problems.push_back(
        fmt::format("{}: line {}: {} is no key of a configuration", file, key.source().begin.line, shown(key.str())));
  }

  // A file means its own folder, wherever the host was started.
  const auto slash = file.rfind('/');
  const auto folder = slash == std::string::npos ? std::string() : file.substr(0, std::max<std::size_t>(slash, 1));
  if (config.model_folders) {
    for (auto& entry : config.model_folders->value) resolve(entry, folder);
  }
  if (config.backend_path) resolve(config.backend_path->value, folder);
  return success();
}

void read_environment(const EnvironmentReader& environment, Config& config, std::vector<std::string>& problems) {
  for_each_key(config, [&]<class T>(std::string_view key, std::optional<ConfigValue<T>>& setting, const Kind<T>& kind) {
    const auto name = environment_name(key);
    const auto text = environment(name);
    if (!text || text->empty()) return;  // `NAME= command` is how a shell leaves a variable out.
    if (const auto bad = first_invalid_utf8(*text)) {
      problems.push_back(fmt::format("{} is not UTF-8 at its byte {}", name, *bad));
    } else if (auto value = kind.from_text(*text)) {
      setting = ConfigValue<T>{std::move(*value), ConfigOrigin::environment};
    } else {
      problems.push_back(fmt::format("{} is {}; it must be {}", name, shown(*text), kind.expected));
    }
  });
}

}  // namespace

Result<Config> load_config(const std::optional<std::string>& file, const EnvironmentReader& environment) {
  Config config;
  std::vector<std::string> problems;
  if (file) {
    GF_TRYV(read_file(*file, config, problems));
  }
  if (environment) read_environment(environment, config, problems);
  if (problems.empty()) return config;

  Error error{Status::invalid_argument, {}, {}};
  for (auto& problem : problems) {
    if (!error.message.empty()) error.message += "; ";
    error.message += problem;
  }
  if (problems.size() > 1) {
    for (auto& problem : problems) error.causes.push_back({Status::invalid_argument, std::move(problem)});
  }
  return error;
}

std::string to_json(const Config& config) {
  JsonText out;
  out.begin_object();
  for_each_key(config,
               [&]<class T>(std::string_view key, const std::optional<ConfigValue<T>>& setting, const Kind<T>&) {
                 if (!setting) return;
                 out.key(key).begin_object();
                 if constexpr (std::is_same_v<T, LogLevel>) {
                   out.member("value", level_names.at(static_cast<std::size_t>(setting->value)));
                 } else {
                   out.member("value", setting->value);
                 }
                 out.key("origin").text(setting->origin == ConfigOrigin::file ? "file" : "environment").end_object();
               });
  out.end_object();
  return std::move(out).str();
}

}  // namespace gf::engine
