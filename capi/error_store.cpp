// The error store at the ABI.
#include "error/error_store.hpp"

#include "base/json_text.hpp"
#include "buffers.hpp"
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
static_assert(sizeof(gf_error_cause) == 24);
static_assert(sizeof(gf_error_report) == 112);
constexpr std::size_t first_options_bytes = 64;
constexpr std::size_t first_report_bytes = 112;

static_assert(static_cast<std::uint32_t>(ForeignCode::Domain::system) == GF_FOREIGN_SYSTEM &&
              static_cast<std::uint32_t>(ForeignCode::Domain::sqlstate) == GF_FOREIGN_SQLSTATE &&
              static_cast<std::uint32_t>(ForeignCode::Domain::sqlite) == GF_FOREIGN_SQLITE &&
              static_cast<std::uint32_t>(ForeignCode::Domain::cuda) == GF_FOREIGN_CUDA &&
              static_cast<std::uint32_t>(ForeignCode::Domain::http) == GF_FOREIGN_HTTP &&
              static_cast<std::uint32_t>(ForeignCode::Domain::redis) == GF_FOREIGN_REDIS);

template <class T>
void set_if_given(T& option, T given) {
  if (given != 0) option = given;
}

std::string_view text_or_empty(const char* text) { return text == nullptr ? std::string_view() : text; }

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

Result<ForeignCode> read_foreign(std::uint32_t domain, std::int64_t number, std::string_view what) {
  GF_TRY(const auto known_domain, known(domain, ForeignCode::Domain::redis, what));
  return ForeignCode{known_domain, number};
}

/// What its texts point to is the caller's.
Result<void> record(ErrorStore& store, const gf_error_report& read) {
  constexpr std::uint32_t most_context = 16;
  constexpr std::uint32_t most_causes = 16;
  GF_TRY(const auto message, needed_text(read.message, "report->message"));
  GF_TRY(const auto severity, known(read.severity, Severity::fatal, "report->severity"));
  if (read.context_count > most_context ||
      (read.context_count != 0 && (read.context_keys == nullptr || read.context_values == nullptr))) {
    return invalid(
        fmt::format("report->context_count is {}; it must be at most {}, and context_keys and "
                    "context_values not NULL",
                    read.context_count, most_context));
  }
  if (read.cause_count > most_causes || (read.cause_count != 0 && read.causes == nullptr)) {
    return invalid(fmt::format("report->cause_count is {}; it must be at most {}, and causes not NULL",
                               read.cause_count, most_causes));
  }
  const ErrorTags tags{text_or_empty(read.model), text_or_empty(read.user), text_or_empty(read.device)};
  const Error lost{Status::queue_full, "the error is lost: too many wait for the server already", {}};
  if (read.status == GF_OK) {
    if (!store.record_text(text_or_empty(read.module), message, severity == Severity::none ? Severity::error : severity,
                           tags)) {
      return lost;
    }
    return success();
  }
  Error error;
  GF_TRY(error.status, known_status(read.status, "report->status"));
  GF_TRY(error.foreign, read_foreign(read.foreign_domain, read.foreign_number, "report->foreign_domain"));
  error.message = message;
  for (std::uint32_t index = 0; index < read.context_count; ++index) {
    GF_TRY(const auto key, needed_text(read.context_keys[index], fmt::format("report->context_keys[{}]", index)));
    GF_TRY(const auto value, needed_text(read.context_values[index], fmt::format("report->context_values[{}]", index)));
    error.context.push_back({std::string(key), std::string(value)});
  }
  for (std::uint32_t index = 0; index < read.cause_count; ++index) {
    const auto& cause = read.causes[index];
    gf::ErrorCause link;
    GF_TRY(link.status, known_status(cause.status, fmt::format("report->causes[{}].status", index)));
    GF_TRY(link.foreign, read_foreign(cause.foreign_domain, cause.foreign_number,
                                      fmt::format("report->causes[{}].foreign_domain", index)));
    link.message = text_or_empty(cause.message);
    error.causes.push_back(std::move(link));
  }
  if (!store.record(error, tags, text_or_empty(read.place), text_or_empty(read.module), severity)) return lost;
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
    if (report == nullptr) return invalid("report is NULL");
    GF_TRY(const auto read, read_options(report, gf_error_report GF_ERROR_REPORT_INIT, first_report_bytes, "report"));
    return record(*found, read);
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
