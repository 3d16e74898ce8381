// What the handles stand for: one table a type, in the order of the header.
#pragma once

#include "base/result.hpp"
#include "engine/config.hpp"
#include "engine/engine.hpp"
#include "gameforge/gameforge.h"
#include "handles.hpp"
#include "pipeline/image.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gf::migrate {
class Worker;
}
namespace gf::queue {
class RateLimiter;
}
namespace gf::error {
class CircuitBreaker;
class CrashNote;
class ErrorStore;
class SharedBreakers;
}  // namespace gf::error

namespace gf::capi {

/// What a gf_config stands for, with the pointers that gf_config_read hands out.
struct SharedConfig {
  explicit SharedConfig(engine::Config read) : config(std::move(read)) {
    if (!config.model_folders) return;
    for (const auto& folder : config.model_folders->value) model_folders.push_back(folder.c_str());
  }
  SharedConfig(const SharedConfig&) = delete;
  SharedConfig& operator=(const SharedConfig&) = delete;

  const engine::Config config;
  std::vector<const char*> model_folders;  // Into config.
};

struct HostedLogger;      // logger.cpp.
struct HostedAggregator;  // aggregator.cpp.
struct HostedQueue;       // queue.cpp, as the next.
struct SharedJobs;

using EngineTable = HandleTable<gf_engine, engine::Engine>;
using ConfigTable = HandleTable<gf_config, const SharedConfig>;
using ImageTable = HandleTable<gf_image, const pipeline::Image>;
using MigratorTable = HandleTable<gf_migrator, migrate::Worker>;
using QueueTable = HandleTable<gf_queue, HostedQueue>;
using QueueJobsTable = HandleTable<gf_queue_jobs, const SharedJobs>;
using RateLimiterTable = HandleTable<gf_rate_limiter, queue::RateLimiter>;
using LoggerTable = HandleTable<gf_logger, HostedLogger>;
using AggregatorTable = HandleTable<gf_aggregator, HostedAggregator>;
using BreakerTable = HandleTable<gf_breaker, error::CircuitBreaker>;
using SharedBreakersTable = HandleTable<gf_shared_breakers, error::SharedBreakers>;
using ErrorStoreTable = HandleTable<gf_error_store, error::ErrorStore>;

/// Never destroyed: a host's thread may call in while the process ends.
EngineTable& engines();
ConfigTable& configs();
ImageTable& images();
MigratorTable& migrators();
QueueTable& queues();
QueueJobsTable& queue_jobs();
RateLimiterTable& rate_limiters();
LoggerTable& loggers();
AggregatorTable& aggregators();
BreakerTable& breakers();
SharedBreakersTable& shared_breakers();
ErrorStoreTable& error_stores();

/// Whether a room's enumerator has the public one's number, `shift` apart: for assertions.
template <class Inner>
constexpr bool same(Inner inner, std::uint32_t public_value, std::uint32_t shift = 0) {
  return static_cast<std::uint32_t>(inner) + shift == public_value;
}

inline Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

/// The process's, shared with whoever keeps it (logger.cpp).
std::shared_ptr<error::CrashNote> shared_crash_note();

/// The error for a handle that is none. `what` is the parameter's name.
inline Error no_handle(const void* handle, std::string_view what) {
  return Error{Status::invalid_handle,
               fmt::format("{} is {}", what, handle == nullptr ? "NULL" : "a handle that was released, or never given"),
               {}};
}

/// The object behind a handle, kept alive for the call. Errors: invalid_handle.
template <class Handle, class Object>
Result<std::shared_ptr<Object>> find(const HandleTable<Handle, Object>& table, const Handle* handle,
                                     std::string_view what) {
  auto object = table.find(handle);
  if (!object) return no_handle(handle, what);
  return object;
}

/// Ends a handle; NULL is allowed. Errors: invalid_handle.
template <class Handle, class Object>
Result<void> release(HandleTable<Handle, Object>& table, const Handle* handle, std::string_view what) {
  if (handle == nullptr) return success();
  if (!table.take(handle)) return no_handle(handle, what);
  return success();
}

/// Checks the place for a result and empties it, so that a failing call leaves NULL. `what` is the parameter's name.
template <class T>
Result<void> clear_out(T** out, std::string_view what) {
  if (out == nullptr) return invalid(fmt::format("{} is NULL", what));
  *out = nullptr;
  return success();
}

/// A field or argument that is 0 or 1.
inline Result<bool> truth(std::uint32_t value, std::string_view what) {
  if (value > 1) return invalid(fmt::format("{} is {}; it must be 0 or 1", what, value));
  return value == 1;
}

/// A field that is reserved.
inline Result<void> zero(std::uint32_t value, std::string_view what) {
  if (value != 0) return invalid(fmt::format("{} is {}; it must be 0", what, value));
  return success();
}

/// A value that this version of the library does not know. `what` names the field or argument.
inline Error unknown_value(std::string_view what, std::uint32_t value, std::uint32_t first, std::uint32_t last) {
  return Error{Status::unsupported, fmt::format("{} is {}; this version knows {} to {}", what, value, first, last), {}};
}

/// An enumeration of a room that has the public one's numbers, `last` the largest.
template <class Inner>
Result<Inner> known(std::uint32_t value, Inner last, std::string_view what) {
  if (value > static_cast<std::uint32_t>(last)) return unknown_value(what, value, 0, static_cast<std::uint32_t>(last));
  return static_cast<Inner>(value);
}

/// A gf_status from outside. Errors: unsupported.
inline Result<Status> known_status(std::uint32_t value, std::string_view what) {
  if (find_status(static_cast<std::int32_t>(value)) == nullptr) {
    return Error{Status::unsupported, fmt::format("{} is {}, which is no status of this version", what, value), {}};
  }
  return static_cast<Status>(value);
}

inline std::string_view text_or_empty(const char* text) { return text == nullptr ? std::string_view() : text; }

/// Text that must be there. The caller's, borrowed for the call.
inline Result<std::string_view> needed_text(const char* text, std::string_view what) {
  if (text == nullptr) return invalid(fmt::format("{} is NULL", what));
  return std::string_view(text);
}

}  // namespace gf::capi
