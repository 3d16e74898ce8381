// Options of an engine, checked once for every host.
#include "base/platform.hpp"
#include "base/utf8.hpp"
#include "engine/engine.hpp"
#include "queue/queue.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

namespace gf::engine {
namespace {

Error invalid(std::string message) { return Error{Status::invalid_argument, std::move(message), {}}; }

Result<void> settle(const char* name, std::uint32_t& value, std::uint32_t high, std::uint32_t standard) {
  if (value > high)
    return invalid(fmt::format("{} is {}; it must be 1 to {}, or 0 for the default", name, value, high));
  if (value == 0) value = standard;
  return success();
}

Result<void> check_path(const std::string& name, const std::string& path) {
  if (path.empty()) return invalid(fmt::format("{} is empty", name));
  if (first_invalid_utf8(path) || path.find('\0') != std::string::npos) {
    return invalid(fmt::format("{} is {}, which is not UTF-8", name, shown(path)));
  }
  return success();
}

}  // namespace

Result<EngineOptions> checked(EngineOptions options) {
  GF_TRYV(settle("executor_count", options.executor_count, 16, 1));
  GF_TRYV(settle("thread_count", options.thread_count, 256, usable_cores()));
  GF_TRYV(settle("queue_limit", options.queue_limit, 1'000'000, 1024));
  GF_TRYV(settle("retained_job_count", options.retained_job_count, 0xFFFF'FFFF, 256));
  if (options.reserved_for_high > options.queue_limit) {
    return invalid(fmt::format("reserved_for_high is {}; it must be at most the queue_limit, {}",
                               options.reserved_for_high, options.queue_limit));
  }
  queue::QueueOptions lanes;
  lanes.lanes = options.lanes;
  GF_TRYV(queue::check(lanes));
  GF_TRYV(queue::check(options.submit_rates));
  if (options.log_level > LogLevel::debug) {
    return invalid(fmt::format("log_level is {}; it must be 0 to {}", static_cast<std::uint32_t>(options.log_level),
                               static_cast<std::uint32_t>(LogLevel::debug)));
  }
  for (std::size_t index = 0; index < options.model_folders.size(); ++index) {
    auto& folder = options.model_folders[index];
    GF_TRYV(check_path(fmt::format("model_folders[{}]", index), folder));
    // Now, since the host may change its working folder later.
    std::error_code error;
    const auto absolute = std::filesystem::absolute(folder, error);
    if (error) return invalid(fmt::format("model_folders[{}] is {}: {}", index, shown(folder), error.message()));
    folder = absolute.string();
  }
  if (!options.backend_path.empty()) {
    GF_TRYV(check_path("backend_path", options.backend_path));
    if (options.backend_path.front() != '/') {
      return invalid(fmt::format("backend_path is {}; it must be absolute", shown(options.backend_path)));
    }
  }
  if (!options.ledger) options.ledger = cache::process_ledger();
  if (options.clock == nullptr) options.clock = &system_clock();
  return options;
}

}  // namespace gf::engine
