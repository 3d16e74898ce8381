// The one table of status codes: number, name, severity, whether a retry may help, and what to do.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace gf {

/// How loudly a status asks for attention. Values cross the ABI as gf_severity.
enum class Severity : std::uint32_t { none = 0, info = 1, warning = 2, error = 3, fatal = 4 };

// X(number, name, severity, retryable, hint). The groups are those of the public gf_status; a number is never reused.
#define GF_STATUS_TABLE(X)                                                                                            \
  X(0, ok, none, false, "nothing to do")                                                                              \
  X(101, invalid_argument, error, false, "change the argument that the message names")                                \
  X(102, not_found, error, false, "check the name or the path that the message gives")                                \
  X(103, already_exists, error, false, "choose another name, or use what is there")                                   \
  X(104, wrong_state, error, false, "wait for the state that the call needs, or leave the call out")                  \
  X(105, unsupported, error, false, "leave the option out, or use a version of the library that knows it")            \
  X(106, unauthorised, error, false, "give valid credentials")                                                        \
  X(107, invalid_handle, error, false, "use a handle that is open; each is released once")                            \
  X(108, buffer_too_small, warning, false, "call again with a buffer of the returned size")                           \
  X(109, payload_too_large, error, false, "send less, or raise the limit")                                            \
  X(201, cancelled, info, false, "submit again if it is still wanted")                                                \
  X(202, timed_out, warning, true, "wait longer, or ask again later")                                                 \
  X(203, would_block, info, true, "ask again later")                                                                  \
  X(204, rate_limited, warning, true, "ask again after the given time")                                               \
  X(205, queue_full, warning, true, "wait until jobs finish, or raise the queue's limit")                             \
  X(206, over_budget, error, false, "ask for less, or raise the memory budget by the bytes that the message names")   \
  X(207, breaker_open, warning, true, "wait until the service behind the breaker recovers")                           \
  X(208, lease_lost, warning, false, "drop the work; another worker has it")                                          \
  X(209, shutting_down, warning, false, "open another engine")                                                        \
  X(301, out_of_host_memory, error, true, "free memory, or ask for less")                                             \
  X(302, out_of_device_memory, error, true, "free device memory, ask for less, or allow a recovery step")             \
  X(303, device_lost, fatal, false, "open another engine; the device may need a reset")                               \
  X(304, backend_missing, error, false, "put the backend's shared object beside the library; see the doctor command") \
  X(305, backend_version_clash, error, false, "install the backend that was built with this library")                 \
  X(306, symbol_clash, error, false, "load the library before the other one, or in a process of its own")             \
  X(401, corrupt_file, error, false, "fetch the file again")                                                          \
  X(402, unsupported_format, error, false, "convert the file to a format that the message names")                     \
  X(403, checksum_mismatch, error, false, "fetch the file again, or accept the change on purpose")                    \
  X(404, schema_drift, error, false, "compare the schema with its migrations, then repair one of them")               \
  X(405, schema_too_new, error, false, "use the version of the library that made it, or a later one")                 \
  X(406, syntax_error, error, false, "correct the text at the position that the message gives")                       \
  X(407, not_finite, error, false, "use other settings or full precision; the weights may be damaged")                \
  X(501, io_error, error, true, "check the path, its permissions and the disk")                                       \
  X(502, network_error, error, true, "check the address and the network, then try again")                             \
  X(503, redis_error, error, true, "check the Redis server, then try again")                                          \
  X(504, database_error, error, true, "check the database server, then try again")                                    \
  X(505, disk_full, error, true, "free disk space, then try again")                                                   \
  X(506, locked, warning, true, "wait for the owner that the message names")                                          \
  X(901, internal, fatal, false, "report a bug with the message and the log")                                         \
  X(902, torch_exception, error, false, "report the message; the engine stays usable")

/// What every fallible call answers. The values are those of the public gf_status.
enum class Status : std::int32_t {
#define GF_DETAIL_STATUS_ENUMERATOR(number, name, severity, retryable, hint) name = number,
  GF_STATUS_TABLE(GF_DETAIL_STATUS_ENUMERATOR)
#undef GF_DETAIL_STATUS_ENUMERATOR
};

/// One row of the table; its texts live as long as the process.
struct StatusEntry {
  Status status;
  std::string_view name;
  Severity severity;
  bool retryable;
  std::string_view hint;
};

/// The whole table in the order of the numbers.
inline constexpr std::array status_table = {
#define GF_DETAIL_STATUS_ROW(number, name, severity, retryable, hint) \
  StatusEntry{Status::name, #name, Severity::severity, retryable, hint},
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

}  // namespace gf
