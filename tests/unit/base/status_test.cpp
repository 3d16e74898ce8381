#include "base/status.hpp"

#include <gameforge/gameforge.h>

#include <doctest/doctest.h>

#include <array>
#include <cctype>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

using gf::Severity;
using gf::Status;

TEST_CASE("numbers rise, so that none is there twice, and names differ") {
  std::set<std::string_view> names;
  std::int32_t last = -1;
  for (const auto& row : gf::status_table) {
    CAPTURE(row.name);
    CHECK(static_cast<std::int32_t>(row.status) > last);
    last = static_cast<std::int32_t>(row.status);
    CHECK(names.insert(row.name).second);
  }
}

TEST_CASE("every code is ok or lies in one of the groups that the design names") {
  for (const auto& row : gf::status_table) {
    CAPTURE(row.name);
    const auto group = static_cast<std::int32_t>(row.status) / 100;
    const bool known = group == 0 || (group >= 1 && group <= 5) || group == 9;
    CHECK(known);
    if (group == 0) CHECK(row.status == Status::ok);
  }
}

TEST_CASE("a hint is a sentence for people, and only ok has nothing to fear") {
  for (const auto& row : gf::status_table) {
    CAPTURE(row.name);
    CHECK(row.hint.size() > 8);
    CHECK(std::islower(static_cast<unsigned char>(row.hint.front())) != 0);
    CHECK(row.hint.back() != '.');
    CHECK((row.severity == Severity::none) == (row.status == Status::ok));
  }
}

TEST_CASE("a category holds only statuses of its group, and a recovery stands only where it can help") {
  using gf::Category;
  using gf::Recovery;
  for (const auto& row : gf::status_table) {
    CAPTURE(row.name);
    const auto group = static_cast<std::int32_t>(row.status) / 100;
    const auto category = row.category;
    CHECK(gf::category_of(row.status) == category);
    CHECK((category == Category::none) == (group == 0));
    CHECK((category == Category::caller) == (group == 1));
    CHECK((category == Category::flow) == (group == 2));
    CHECK((category == Category::internal) == (group == 9));
    // Nobody but the host can mend its own arguments, its wishes and our bugs.
    if (group <= 1 || group == 9) CHECK(row.recovery == Recovery::none);
    if (row.recovery == Recovery::retry || row.recovery == Recovery::wait || row.recovery == Recovery::reconnect) {
      CHECK(row.retryable);
    }
    CHECK(gf::name_of(category) != "unknown");
    CHECK(gf::name_of(row.recovery) != "unknown");
  }
  CHECK(gf::category_of(static_cast<Status>(12345)) == Category::internal);
  CHECK(gf::name_of(static_cast<Category>(13)) == "unknown");
  CHECK(gf::name_of(static_cast<Recovery>(8)) == "unknown");
}

TEST_CASE("golden: the public enum has the same names and numbers") {
  struct Row {
    gf_status number;
    std::string_view name;
  };
  // Written out again from the header, so that a renumbering on either side is seen.
  constexpr std::array rows = {
      Row{GF_OK, "ok"},
      Row{GF_ERR_INVALID_ARGUMENT, "invalid_argument"},
      Row{GF_ERR_NOT_FOUND, "not_found"},
      Row{GF_ERR_ALREADY_EXISTS, "already_exists"},
      Row{GF_ERR_WRONG_STATE, "wrong_state"},
      Row{GF_ERR_UNSUPPORTED, "unsupported"},
      Row{GF_ERR_UNAUTHORISED, "unauthorised"},
      Row{GF_ERR_INVALID_HANDLE, "invalid_handle"},
      Row{GF_ERR_BUFFER_TOO_SMALL, "buffer_too_small"},
      Row{GF_ERR_PAYLOAD_TOO_LARGE, "payload_too_large"},
      Row{GF_ERR_CANCELLED, "cancelled"},
      Row{GF_ERR_TIMED_OUT, "timed_out"},
      Row{GF_ERR_WOULD_BLOCK, "would_block"},
      Row{GF_ERR_RATE_LIMITED, "rate_limited"},
      Row{GF_ERR_QUEUE_FULL, "queue_full"},
      Row{GF_ERR_OVER_BUDGET, "over_budget"},
      Row{GF_ERR_BREAKER_OPEN, "breaker_open"},
      Row{GF_ERR_LEASE_LOST, "lease_lost"},
      Row{GF_ERR_SHUTTING_DOWN, "shutting_down"},
      Row{GF_ERR_OUT_OF_HOST_MEMORY, "out_of_host_memory"},
      Row{GF_ERR_OUT_OF_DEVICE_MEMORY, "out_of_device_memory"},
      Row{GF_ERR_DEVICE_LOST, "device_lost"},
      Row{GF_ERR_BACKEND_MISSING, "backend_missing"},
      Row{GF_ERR_BACKEND_VERSION_CLASH, "backend_version_clash"},
      Row{GF_ERR_SYMBOL_CLASH, "symbol_clash"},
      Row{GF_ERR_CORRUPT_FILE, "corrupt_file"},
      Row{GF_ERR_UNSUPPORTED_FORMAT, "unsupported_format"},
      Row{GF_ERR_CHECKSUM_MISMATCH, "checksum_mismatch"},
      Row{GF_ERR_SCHEMA_DRIFT, "schema_drift"},
      Row{GF_ERR_SCHEMA_TOO_NEW, "schema_too_new"},
      Row{GF_ERR_SYNTAX_ERROR, "syntax_error"},
      Row{GF_ERR_NOT_FINITE, "not_finite"},
      Row{GF_ERR_IO, "io_error"},
      Row{GF_ERR_NETWORK, "network_error"},
      Row{GF_ERR_REDIS, "redis_error"},
      Row{GF_ERR_DATABASE, "database_error"},
      Row{GF_ERR_DISK_FULL, "disk_full"},
      Row{GF_ERR_LOCKED, "locked"},
      Row{GF_ERR_INTERNAL, "internal"},
      Row{GF_ERR_TORCH_EXCEPTION, "torch_exception"},
  };
  CHECK(rows.size() == gf::status_table.size());
  for (const auto& row : rows) {
    CAPTURE(row.name);
    const auto* entry = gf::find_status(row.number);
    REQUIRE(entry != nullptr);
    CHECK(entry->name == row.name);
  }
}

TEST_CASE("a number outside the table is not found") {
  for (const std::int32_t number : {-1, 1, 99, 100, 110, 210, 307, 408, 507, 900, 903, 1000, 0x7FFFFFFF}) {
    CAPTURE(number);
    CHECK(gf::find_status(number) == nullptr);
  }
}
