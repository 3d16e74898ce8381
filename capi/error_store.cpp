// The error store at the ABI.
#include "error/error_store.hpp"

#include "base/json_text.hpp"
#include "buffers.hpp"
#include "error_report.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

using gf::Error;
using gf::ForeignCode;
using gf::JsonText;
using gf::Result;
using gf::Severity;
using gf::Status;
using namespace gf::error;

namespace gf::capi {

ErrorStoreTable& error_stores() {
  static auto& table = *new ErrorStoreTable;
  return table;
}

namespace {

static_assert(sizeof(gf_error_store_options) == 64);
constexpr std::size_t first_options_bytes = 64;

template <class T>
void set_if_given(T& option, T given) {
  if (given != 0) option = given;
}

Result<void> check_timeout(std::int64_t timeout_us) {
  if (timeout_us >= 0) return success();
  return invalid(fmt::format("timeout_us is {}; it must not be negative", timeout_us));
}

Result<ErrorStoreOptions> read_store_options(const gf_error_store_options* given) {
  if (given == nullptr) return invalid("options is NULL");
  GF_TRY(const auto read,
         read_options(given, gf_error_store_options GF_ERROR_STORE_OPTIONS_INIT, first_options_bytes, "options"));
  GF_TRY(const auto url, needed_text(read.redis_url, "options->redis_url"));
  constexpr std::uint32_t most_waiting = 1'000'000;
  constexpr std::uint64_t most_waiting_bytes = std::uint64_t{1} << 30;
  if (read.most_waiting > most_waiting) {
    return invalid(fmt::format("options->most_waiting is {}; it must be at most {}", read.most_waiting, most_waiting));
  }
  if (read.most_waiting_bytes > most_waiting_bytes) {
    return invalid(fmt::format("options->most_waiting_bytes is {}; it must be at most {}", read.most_waiting_bytes,
                               most_waiting_bytes));
  }
  ErrorStoreOptions options;
  options.url = url;
  if (read.name_space != nullptr) options.name_space = read.name_space;
  options.process = text_or_empty(read.process);
  set_if_given(options.kept_errors, read.kept_errors);
  set_if_given(options.group_limit, read.group_limit);
  set_if_given(options.kept_us, read.kept_us);
  set_if_given(options.command_timeout_us, read.command_timeout_us);
  if (read.most_waiting != 0) options.batch.most_items = read.most_waiting;
  if (read.most_waiting_bytes != 0) options.batch.most_bytes = read.most_waiting_bytes;
  return options;
}

Result<void> record(ErrorStore& store, const gf_error_report* given) {
  constexpr std::uint32_t most_context = 16;
  GF_TRY(const auto report, read_report(given));
  GF_TRYV(needed_text(report.given.message, "report->message"));
  const auto* const keys = report.given.context_keys;
  const auto* const values = report.given.context_values;
  const auto count = report.given.context_count;
  if (count > most_context || (count != 0 && (keys == nullptr || values == nullptr))) {
    return invalid(
        fmt::format("report->context_count is {}; it must be at most {}, and context_keys and "
                    "context_values not NULL",
                    count, most_context));
  }
  const Error lost{Status::queue_full, "the error is lost: too many wait for the server already", {}};
  if (report.status == Status::ok) {
    if (!store.record_text(report.module, report.message, report.severity, report.tags)) return lost;
    return success();
  }
  Error error;
  error.status = report.status;
  error.foreign = report.foreign;
  error.message = report.message;
  for (std::uint32_t index = 0; index < count; ++index) {
    GF_TRY(const auto key, needed_text(keys[index], fmt::format("report->context_keys[{}]", index)));
    GF_TRY(const auto value, needed_text(values[index], fmt::format("report->context_values[{}]", index)));
    error.context.push_back({std::string(key), std::string(value)});
  }
  for (std::size_t index = 0; index < report.cause_count; ++index) {
    const auto& cause = report.causes[index];
    gf::ErrorCause link;
    link.status = cause.status;
    link.foreign = cause.foreign;
    link.message = cause.message;
    error.causes.push_back(std::move(link));
  }
  if (!store.record(error, report.tags, report.place, report.module, report.severity)) return lost;
  return success();
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_error_store_open(const gf_error_store_options* options, gf_error_store** out_store) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_store, "out_store"));
    GF_TRY(const auto read, read_store_options(options));
    GF_TRY(auto opened, ErrorStore::open(read));
    *out_store = error_stores().insert(std::move(opened));
    return gf::success();
  });
}

gf_status gf_error_store_record(gf_error_store* store, const gf_error_report* report) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(error_stores(), store, "store"));
    return record(*found, report);
  });
}

gf_status gf_error_store_top_json(gf_error_store* store, int64_t window_us, uint32_t count, char* buffer,
                                  uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(error_stores(), store, "store"));
    GF_TRY(const auto text, found->top_json(window_us, count));
    return give_text(text, buffer, size);
  });
}

gf_status gf_error_store_show_json(gf_error_store* store, const char* fingerprint, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(error_stores(), store, "store"));
    GF_TRY(const auto digits, needed_text(fingerprint, "fingerprint"));
    std::uint64_t value = 0;
    const auto* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, 16);
    if (error != std::errc() || stop != end) {
      return invalid(fmt::format("fingerprint is \"{}\"; it must be 1 to 16 hexadecimal digits", digits));
    }
    GF_TRY(const auto text, found->show_json(value));
    return give_text(text, buffer, size);
  });
}

gf_status gf_error_store_tail_json(gf_error_store* store, const char* after, uint32_t count, int64_t timeout_us,
                                   char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(error_stores(), store, "store"));
    GF_TRYV(check_timeout(timeout_us));
    GF_TRY(const auto text, found->tail_json(text_or_empty(after), count, timeout_us));
    return give_text(text, buffer, size);
  });
}

gf_status gf_error_store_statistics_json(gf_error_store* store, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(error_stores(), store, "store"));
    const auto now = found->statistics();
    JsonText out;
    out.begin_object().member("taken", now.taken).member("sent", now.sent).member("lost", now.lost);
    out.member("failures", now.failures).end_object();
    return give_text(out.str(), buffer, size);
  });
}

gf_status gf_error_store_flush(gf_error_store* store, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(error_stores(), store, "store"));
    GF_TRYV(check_timeout(timeout_us));
    return found->flush(timeout_us);
  });
}

gf_status gf_error_store_close(gf_error_store* store, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    if (store == nullptr) return gf::success();
    if (!error_stores().find(store)) return no_handle(store, "store");
    GF_TRYV(check_timeout(timeout_us));
    const auto found = error_stores().take(store);
    if (!found) return no_handle(store, "store");
    found->close(timeout_us);
    return gf::success();
  });
}

}  // extern "C"
