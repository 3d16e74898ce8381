// The status table and the thread's last error at the ABI.
#include "base/status.hpp"

#include "buffers.hpp"
#include "firewall.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <string>

namespace {

using gf::Error;
using gf::Result;
using gf::Status;

// Both ways: an enumerator of the header without a row in the table does not compile (-Wswitch), and neither does a row
// of the table without an enumerator of its number (the static_assert below).
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
constexpr Status row_of(gf_status status) {
  switch (status) {
    case GF_OK:
      return Status::ok;
    case GF_ERR_INVALID_ARGUMENT:
      return Status::invalid_argument;
    case GF_ERR_NOT_FOUND:
      return Status::not_found;
    case GF_ERR_ALREADY_EXISTS:
      return Status::already_exists;
    case GF_ERR_WRONG_STATE:
      return Status::wrong_state;
    case GF_ERR_UNSUPPORTED:
      return Status::unsupported;
    case GF_ERR_UNAUTHORISED:
      return Status::unauthorised;
    case GF_ERR_INVALID_HANDLE:
      return Status::invalid_handle;
    case GF_ERR_BUFFER_TOO_SMALL:
      return Status::buffer_too_small;
    case GF_ERR_PAYLOAD_TOO_LARGE:
      return Status::payload_too_large;
    case GF_ERR_CANCELLED:
      return Status::cancelled;
    case GF_ERR_TIMED_OUT:
      return Status::timed_out;
    case GF_ERR_WOULD_BLOCK:
      return Status::would_block;
    case GF_ERR_RATE_LIMITED:
      return Status::rate_limited;
    case GF_ERR_QUEUE_FULL:
      return Status::queue_full;
    case GF_ERR_OVER_BUDGET:
      return Status::over_budget;
    case GF_ERR_BREAKER_OPEN:
      return Status::breaker_open;
    case GF_ERR_LEASE_LOST:
      return Status::lease_lost;
    case GF_ERR_SHUTTING_DOWN:
      return Status::shutting_down;
    case GF_ERR_OUT_OF_HOST_MEMORY:
      return Status::out_of_host_memory;
    case GF_ERR_OUT_OF_DEVICE_MEMORY:
      return Status::out_of_device_memory;
    case GF_ERR_DEVICE_LOST:
      return Status::device_lost;
    case GF_ERR_BACKEND_MISSING:
      return Status::backend_missing;
    case GF_ERR_BACKEND_VERSION_CLASH:
      return Status::backend_version_clash;
    case GF_ERR_SYMBOL_CLASH:
      return Status::symbol_clash;
    case GF_ERR_CORRUPT_FILE:
      return Status::corrupt_file;
    case GF_ERR_UNSUPPORTED_FORMAT:
      return Status::unsupported_format;
    case GF_ERR_CHECKSUM_MISMATCH:
      return Status::checksum_mismatch;
    case GF_ERR_SCHEMA_DRIFT:
      return Status::schema_drift;
    case GF_ERR_SCHEMA_TOO_NEW:
      return Status::schema_too_new;
    case GF_ERR_SYNTAX_ERROR:
      return Status::syntax_error;
    case GF_ERR_NOT_FINITE:
      return Status::not_finite;
    case GF_ERR_IO:
      return Status::io_error;
    case GF_ERR_NETWORK:
      return Status::network_error;
    case GF_ERR_REDIS:
      return Status::redis_error;
    case GF_ERR_DATABASE:
      return Status::database_error;
    case GF_ERR_DISK_FULL:
      return Status::disk_full;
    case GF_ERR_LOCKED:
      return Status::locked;
    case GF_ERR_INTERNAL:
      return Status::internal;
    case GF_ERR_TORCH_EXCEPTION:
      return Status::torch_exception;
    case GF_STATUS_FORCE_32:
      break;
  }
  return static_cast<Status>(GF_STATUS_FORCE_32);
}
#pragma GCC diagnostic pop

constexpr bool header_and_table_agree() {
  for (const auto& entry : gf::status_table) {
    if (row_of(static_cast<gf_status>(entry.status)) != entry.status) return false;
  }
  return true;
}
static_assert(header_and_table_agree(), "gf_status and the table in base/status.hpp have the same numbers");
static_assert(sizeof(gf_status) == 4);
static_assert(static_cast<unsigned>(gf::Severity::none) == GF_SEVERITY_NONE &&
              static_cast<unsigned>(gf::Severity::info) == GF_SEVERITY_INFO &&
              static_cast<unsigned>(gf::Severity::warning) == GF_SEVERITY_WARNING &&
              static_cast<unsigned>(gf::Severity::error) == GF_SEVERITY_ERROR &&
              static_cast<unsigned>(gf::Severity::fatal) == GF_SEVERITY_FATAL);

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_status_description) == 32);
constexpr std::size_t first_description_bytes = 32;

void describe(const gf::StatusEntry& entry, gf_status_description* out) {
  gf_status_description description = GF_STATUS_DESCRIPTION_INIT;
  description.status = static_cast<std::uint32_t>(entry.status);
  description.severity = static_cast<std::uint32_t>(entry.severity);
  description.retryable = entry.retryable ? 1 : 0;
  description.name = entry.name.data();  // Views of literals: NUL follows.
  description.hint = entry.hint.data();
  gf::capi::write_out(out, description);
}

}  // namespace

extern "C" {

const char* gf_status_name(uint32_t status) {
  const auto* entry = gf::find_status(static_cast<std::int32_t>(status));
  return entry == nullptr ? "unknown" : entry->name.data();
}

gf_status gf_status_table(uint32_t index, gf_status_description* out_description) {
  return gf::capi::firewall([&]() -> Result<void> {
    GF_TRYV(gf::capi::check_out(out_description, first_description_bytes, "out_description"));
    if (index >= gf::status_table.size()) {
      return Error{
          Status::not_found, fmt::format("index is {}; the table has {} rows", index, gf::status_table.size()), {}};
    }
    describe(gf::status_table[index], out_description);
    return gf::success();
  });
}

gf_status gf_status_describe(uint32_t status, gf_status_description* out_description) {
  return gf::capi::firewall([&]() -> Result<void> {
    GF_TRYV(gf::capi::check_out(out_description, first_description_bytes, "out_description"));
    const auto* entry = gf::find_status(static_cast<std::int32_t>(status));
    if (entry == nullptr) {
      return Error{Status::not_found, fmt::format("status is {}, which this version does not know", status), {}};
    }
    describe(*entry, out_description);
    return gf::success();
  });
}

gf_status gf_last_error_status(void) { return gf::capi::last_status(); }

const char* gf_last_error_message(void) { return gf::capi::last_message(); }

gf_status gf_last_error_json(char* buffer, uint64_t* size) {
  // Without the firewall's fail(), which would replace what is asked for.
  try {
    const auto asked = gf::capi::check_size(size);
    if (!asked) return static_cast<gf_status>(asked.error().status);
    const auto given = gf::capi::give_text(gf::capi::last_error_json(), buffer, size);
    return given ? GF_OK : static_cast<gf_status>(given.error().status);
  } catch (const std::bad_alloc&) {
    return GF_ERR_OUT_OF_HOST_MEMORY;
  } catch (...) {
    return GF_ERR_INTERNAL;
  }
}

}  // extern "C"
