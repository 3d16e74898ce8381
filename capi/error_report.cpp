#include "error_report.hpp"

#include "objects.hpp"
#include "structs.hpp"

#include <fmt/format.h>

namespace gf::capi {
namespace {

// A field was added: see that the structs still have no padding, and keep the first size where it is read.
static_assert(sizeof(gf_error_cause) == 24);
static_assert(sizeof(gf_error_report) == 112);
constexpr std::size_t first_report_bytes = 112;

static_assert(same(ForeignCode::Domain::none, GF_FOREIGN_NONE) &&
              same(ForeignCode::Domain::system, GF_FOREIGN_SYSTEM) &&
              same(ForeignCode::Domain::sqlstate, GF_FOREIGN_SQLSTATE) &&
              same(ForeignCode::Domain::sqlite, GF_FOREIGN_SQLITE) &&
              same(ForeignCode::Domain::cuda, GF_FOREIGN_CUDA) && same(ForeignCode::Domain::http, GF_FOREIGN_HTTP) &&
              same(ForeignCode::Domain::redis, GF_FOREIGN_REDIS));

Result<ForeignCode> read_foreign(std::uint32_t domain, std::int64_t number, std::string_view what) {
  GF_TRY(const auto known_domain, known(domain, ForeignCode::Domain::redis, what));
  return ForeignCode{known_domain, number};
}

}  // namespace

Result<ReadReport> read_report(const gf_error_report* given) {
  if (given == nullptr) return invalid("report is NULL");
  ReadReport out;
  GF_TRY(out.given, read_options(given, gf_error_report GF_ERROR_REPORT_INIT, first_report_bytes, "report"));
  const auto& read = out.given;
  GF_TRY(out.status, known_status(read.status, "report->status"));
  GF_TRY(out.severity, known(read.severity, Severity::fatal, "report->severity"));
  if (out.status == Status::ok && out.severity == Severity::none) out.severity = Severity::error;
  GF_TRY(out.foreign, read_foreign(read.foreign_domain, read.foreign_number, "report->foreign_domain"));
  if (read.unix_us < 0) return invalid(fmt::format("report->unix_us is {}; it must not be negative", read.unix_us));
  out.unix_us = read.unix_us;
  if (read.cause_count > out.causes.size()) {
    return invalid(fmt::format("report->cause_count is {}; it must be 0 to {}", read.cause_count, out.causes.size()));
  }
  if (read.cause_count != 0 && read.causes == nullptr) {
    return invalid(fmt::format("report->causes is NULL, and report->cause_count is {}", read.cause_count));
  }
  for (; out.cause_count < read.cause_count; ++out.cause_count) {
    const auto& cause = read.causes[out.cause_count];
    auto& into = out.causes[out.cause_count];
    const auto name = [&](std::string_view field) {
      return fmt::format("report->causes[{}].{}", out.cause_count, field);
    };
    GF_TRY(into.status, known_status(cause.status, name("status")));
    GF_TRY(into.foreign, read_foreign(cause.foreign_domain, cause.foreign_number, name("foreign_domain")));
    into.message = text_or_empty(cause.message);
  }
  out.message = text_or_empty(read.message);
  out.place = text_or_empty(read.place);
  out.module = text_or_empty(read.module);
  out.tags = {text_or_empty(read.model), text_or_empty(read.user), text_or_empty(read.device)};
  return out;
}

}  // namespace gf::capi
