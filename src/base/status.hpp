// The one table of status codes: number, name, category, severity, whether a retry may help, which recovery is tried,
// and what to do.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gf {

/// How loudly a status asks for attention. Values cross the ABI as gf_severity.
enum class Severity : std::uint32_t { none = 0, info = 1, warning = 2, error = 3, fatal = 4 };

/// What kind of thing went wrong, for strategies, filters and reports: finer than the hundreds of the numbers.
enum class Category : std::uint32_t {
  none = 0,
  caller = 1,  ///< The host asked for what cannot be.
  flow = 2,    ///< Cancelled, late, refused for now: nothing is broken.
  memory = 3,
  device = 4,
  setup = 5,  ///< Parts that are missing or do not fit each other.
  data = 6,   ///< Files and results that are not what they should be.
  schema = 7,
  storage = 8,  ///< Files as such: disk, permissions, locks.
  network = 9,
  redis = 10,
  database = 11,
  internal = 12
};

/// What the handler tries first where nothing else is registered. The strategies themselves are registered by the rooms
/// that can carry them out; without one the error goes on to the host as it is.
enum class Recovery : std::uint32_t {
  none = 0,        ///< Only the host can help.
  retry = 1,       ///< The same again after a backoff.
  wait = 2,        ///< The same again after the time that the error or its cause asks for.
  degrade = 3,     ///< Free memory, then the same with less.
  reconnect = 4,   ///< A new connection, the local mode meanwhile.
  quarantine = 5,  ///< Set the entry aside, fetch it anew.
  requeue = 6,     ///< The job goes to another worker.
  redo = 7         ///< The same in full precision.
};

// X(number, name, category, severity, retryable, recovery, hint). The groups are those of the public gf_status; a
// number is never reused. docs/errors.md is made of this table.
#define GF_STATUS_TABLE(X)                                                                                             \
  X(0, ok, none, none, false, none, "nothing to do")                                                                   \
  X(101, invalid_argument, caller, error, false, none, "change the argument that the message names")                   \
  X(102, not_found, caller, error, false, none, "check the name or the path that the message gives")                   \
  X(103, already_exists, caller, error, false, none, "choose another name, or use what is there")                      \
  X(104, wrong_state, caller, error, false, none, "wait for the state that the call needs, or leave the call out")     \
  X(105, unsupported, caller, error, false, none,                                                                      \
    "leave the option out, or use a version of the library that knows it")                                             \
  X(106, unauthorised, caller, error, false, none, "give valid credentials")                                           \
  X(107, invalid_handle, caller, error, false, none, "use a handle that is open; each is released once")               \
  X(108, buffer_too_small, caller, warning, false, none, "call again with a buffer of the returned size")              \
  X(109, payload_too_large, caller, error, false, none, "send less, or raise the limit")                               \
  X(201, cancelled, flow, info, false, none, "submit again if it is still wanted")                                     \
  X(202, timed_out, flow, warning, true, retry, "wait longer, or ask again later")                                     \
  X(203, would_block, flow, info, true, wait, "ask again later")                                                       \
  X(204, rate_limited, flow, warning, true, wait, "ask again after the given time")                                    \
  X(205, queue_full, flow, warning, true, wait, "wait until jobs finish, or raise the queue's limit")                  \
  X(206, over_budget, flow, error, false, none,                                                                        \
    "ask for less, or raise the memory budget by the bytes that the message names")                                    \
  X(207, breaker_open, flow, warning, true, wait, "wait until the service behind the breaker recovers")                \
  X(208, lease_lost, flow, warning, false, requeue, "drop the work; another worker has it")                            \
  X(209, shutting_down, flow, warning, false, none, "open another engine")                                             \
  X(301, out_of_host_memory, memory, error, true, degrade, "free memory, or ask for less")                             \
  X(302, out_of_device_memory, memory, error, true, degrade,                                                           \
    "free device memory, ask for less, or allow a recovery step")                                                      \
  X(303, device_lost, device, fatal, false, requeue, "open another engine; the device may need a reset")               \
  X(304, backend_missing, setup, error, false, none,                                                                   \
    "put the backend's shared object beside the library; see the doctor command")                                      \
  X(305, backend_version_clash, setup, error, false, none, "install the backend that was built with this library")     \
  X(306, symbol_clash, setup, error, false, none, "load the library before the other one, or in a process of its own") \
  X(401, corrupt_file, data, error, false, quarantine, "fetch the file again")                                         \
  X(402, unsupported_format, data, error, false, none, "convert the file to a format that the message names")          \
  X(403, checksum_mismatch, data, error, false, quarantine, "fetch the file again, or accept the change on purpose")   \
  X(404, schema_drift, schema, error, false, none, "compare the schema with its migrations, then repair one of them")  \
  X(405, schema_too_new, schema, error, false, none, "use the version of the library that made it, or a later one")    \
  X(406, syntax_error, data, error, false, none, "correct the text at the position that the message gives")            \
  X(407, not_finite, data, error, false, redo, "use other settings or full precision; the weights may be damaged")     \
  X(501, io_error, storage, error, true, retry, "check the path, its permissions and the disk")                        \
  X(502, network_error, network, error, true, retry, "check the address and the network, then try again")              \
  X(503, redis_error, redis, error, true, reconnect, "check the Redis server, then try again")                         \
  X(504, database_error, database, error, true, retry, "check the database server, then try again")                    \
  X(505, disk_full, storage, error, true, wait, "free disk space, then try again")                                     \
  X(506, locked, storage, warning, true, retry, "wait for the owner that the message names")                           \
  X(901, internal, internal, fatal, false, none, "report a bug with the message and the log")                          \
  X(902, torch_exception, internal, error, false, none, "report the message; the engine stays usable")

/// What every fallible call answers. The values are those of the public gf_status.
enum class Status : std::int32_t {
#define GF_DETAIL_STATUS_ENUMERATOR(number, name, category, severity, retryable, recovery, hint) name = number,
  GF_STATUS_TABLE(GF_DETAIL_STATUS_ENUMERATOR)
#undef GF_DETAIL_STATUS_ENUMERATOR
};

/// One row of the table; its texts live as long as the process.
struct StatusEntry {
  Status status;
  std::string_view name;
  Category category;
  Severity severity;
  bool retryable;
  Recovery recovery;
  std::string_view hint;
};

/// The whole table in the order of the numbers.
inline constexpr std::array status_table = {
#define GF_DETAIL_STATUS_ROW(number, name, category, severity, retryable, recovery, hint) \
  StatusEntry{Status::name, #name, Category::category, Severity::severity, retryable, Recovery::recovery, hint},
    GF_STATUS_TABLE(GF_DETAIL_STATUS_ROW)
#undef GF_DETAIL_STATUS_ROW
};

/// The row of `status`, or nullptr for a number that is not in the table.
constexpr const StatusEntry* find_status(std::int32_t status) {
  for (const auto& entry : status_table) {
    if (static_cast<std::int32_t>(entry.status) == status) return &entry;
  }
  return nullptr;
}

/// Names as they stand in logs and JSON; "unknown" for a value outside the enum.
constexpr std::string_view name_of(Category category) {
  constexpr std::array<std::string_view, 13> names = {"none",  "caller",   "flow",    "memory",  "device",
                                                      "setup", "data",     "schema",  "storage", "network",
                                                      "redis", "database", "internal"};
  const auto index = static_cast<std::size_t>(category);
  return index < names.size() ? names[index] : "unknown";
}

constexpr std::string_view name_of(Recovery recovery) {
  constexpr std::array<std::string_view, 8> names = {"none",      "retry",      "wait",    "degrade",
                                                     "reconnect", "quarantine", "requeue", "redo"};
  const auto index = static_cast<std::size_t>(recovery);
  return index < names.size() ? names[index] : "unknown";
}

/// The category of a status; internal for a number that is not in the table.
constexpr Category category_of(Status status) {
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  return entry == nullptr ? Category::internal : entry->category;
}

}  // namespace gf
