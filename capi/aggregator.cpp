// Error aggregators at the ABI.
#include "error/aggregator.hpp"

#include "base/clock.hpp"
#include "base/json_text.hpp"
#include "buffers.hpp"
#include "error_report.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

using gf::Error;
using gf::JsonText;
using gf::Result;
using gf::Status;
using namespace gf::error;

namespace gf::capi {

/// What a gf_aggregator stands for. Its time never steps back: it is the latest that the clock or a report had.
struct HostedAggregator {
  std::int64_t now_us(std::int64_t at_least = 0) {
    at_least = std::max(at_least, system_clock().unix_us());
    auto seen = latest_us.load(std::memory_order_relaxed);
    while (seen < at_least && !latest_us.compare_exchange_weak(seen, at_least, std::memory_order_relaxed)) {
    }
    return std::max(seen, at_least);
  }

  std::unique_ptr<ErrorAggregator> errors;
  std::atomic<std::int64_t> latest_us{0};
  std::mutex mutex;
  std::optional<ErrorAlert> held;  // One that was shown and not taken. Guarded by mutex.
};

AggregatorTable& aggregators() {
  static auto& table = *new AggregatorTable;
  return table;
}

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_aggregator_options) == 40);
constexpr std::size_t first_options_bytes = 40;

Result<AggregatorOptions> read_aggregator_options(const gf_aggregator_options* given) {
  GF_TRY(const auto read,
         read_options(given, gf_aggregator_options GF_AGGREGATOR_OPTIONS_INIT, first_options_bytes, "options"));
  AggregatorOptions options;
  if (read.reserved != 0) return unknown_value("options->reserved", read.reserved, 0, 0);
  if (read.group_limit != 0) options.group_limit = read.group_limit;
  options.template_limit = std::min(options.template_limit, options.group_limit);
  if (read.template_limit != 0) options.template_limit = read.template_limit;
  if (read.alert_limit != 0) options.alert_limit = read.alert_limit;
  if (read.cooldown_us != 0) options.cooldown_us = read.cooldown_us;
  if (read.still_every_us != 0) options.still_every_us = read.still_every_us;
  GF_TRY(const auto alert_from, known(read.alert_from, Severity::fatal, "options->alert_from"));
  if (alert_from != Severity::none) options.alert_from = alert_from;
  return options;
}

Result<void> record(HostedAggregator& to, const gf_error_report* given) {
  GF_TRY(const auto report, read_report(given));
  const auto now_us = to.now_us(report.unix_us);
  if (report.status == Status::ok) {
    to.errors->record_text(report.module, report.message, report.severity, report.tags, now_us);
    return success();
  }
  std::array<Status, std::tuple_size_v<decltype(report.causes)>> causes;
  for (std::size_t index = 0; index < report.cause_count; ++index) causes[index] = report.causes[index].status;
  const CodedError coded{
      report.status,  report.place, report.foreign, report.message, {causes.data(), report.cause_count},
      report.severity};
  to.errors->record(coded, report.tags, now_us);
  return success();
}

void write_group(JsonText& out, const ErrorGroup& group) {
  out.begin_object().member("fingerprint", fmt::format("{:016x}", group.fingerprint)).member("title", group.title);
  out.member("sample", group.sample).member("status", static_cast<std::int32_t>(group.status));
  out.member("severity", static_cast<std::uint32_t>(group.severity)).member("first_us", group.first_us);
  out.member("last_us", group.last_us).member("in_window", group.in_window).member("total", group.total);
  out.key("by_severity").begin_array();
  for (const auto count : group.by_severity) out.number(count);
  out.end_array().member("first_version", group.first_version).member("alarming", group.alarming).end_object();
}

std::string alert_json(const ErrorAlert& alert) {
  constexpr std::array<std::string_view, 3> whats = {"opened", "still", "resolved"};
  JsonText out;
  out.begin_object().key("what").text(whats[static_cast<std::size_t>(alert.what)]).member("at_us", alert.at_us);
  out.key("kind").text(alert.spike.kind == SpikeChange::Kind::fast ? "fast" : "slow");
  out.member("window_us", alert.spike.window_us).member("count", alert.spike.count);
  out.key("baseline_per_s").number(alert.spike.baseline_per_s).member("opened_us", alert.spike.opened_us);
  out.member("gave_up", alert.spike.gave_up).key("group");
  write_group(out, alert.group);
  return std::move(out.end_object()).str();
}

std::string report_json(const ErrorAggregator& errors, std::int64_t now_us) {
  const auto numbers = errors.statistics();
  const auto patterns = errors.patterns(now_us);
  const auto name = [](std::uint64_t fingerprint) { return fmt::format("{:016x}", fingerprint); };
  JsonText out;
  out.begin_object().member("errors", numbers.errors).member("groups", numbers.groups);
  out.member("evicted_groups", numbers.evicted_groups).member("evicted_errors", numbers.evicted_errors);
  out.member("lost_errors", numbers.lost_errors).member("alerts_dropped", numbers.alerts_dropped);
  out.member("alerts_held_back", numbers.alerts_held_back).member("bytes", numbers.bytes);
  out.key("patterns").begin_object().key("together").begin_array();
  for (const auto& pair : patterns.together) {
    out.begin_object().member("one", name(pair.one)).member("other", name(pair.other));
    out.key("share").number(pair.share).end_object();
  }
  out.end_array().key("tied").begin_array();
  for (const auto& tie : patterns.tied) {
    out.begin_object().member("fingerprint", name(tie.fingerprint)).member("to", tie.to).member("value", tie.value);
    out.key("share").number(tie.share).end_object();
  }
  out.end_array().key("new_in_version").begin_array();
  for (const auto fingerprint : patterns.new_in_version) out.text(name(fingerprint));
  out.end_array().end_object();
  return std::move(out.end_object()).str();
}

}  // namespace
}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_aggregator_open(const gf_aggregator_options* options, gf_aggregator** out_aggregator) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_aggregator, "out_aggregator"));
    GF_TRY(const auto read, read_aggregator_options(options));
    auto hosted = std::make_shared<HostedAggregator>();
    GF_TRY(hosted->errors, ErrorAggregator::create(read, hosted->now_us()));
    *out_aggregator = aggregators().insert(std::move(hosted));
    return gf::success();
  });
}

gf_status gf_aggregator_record(gf_aggregator* aggregator, const gf_error_report* report) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(aggregators(), aggregator, "aggregator"));
    return record(*found, report);
  });
}

gf_status gf_aggregator_set_version(gf_aggregator* aggregator, const char* version) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(aggregators(), aggregator, "aggregator"));
    GF_TRY(const auto text, needed_text(version, "version"));
    found->errors->set_version(text);
    return gf::success();
  });
}

gf_status gf_aggregator_top_json(gf_aggregator* aggregator, int64_t window_us, uint32_t count, char* buffer,
                                 uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(aggregators(), aggregator, "aggregator"));
    constexpr std::int64_t day_us = 86'400'000'000;
    if (window_us < 1 || window_us > day_us) {
      return invalid(fmt::format("window_us is {}; it must be 1 to {}", window_us, day_us));
    }
    if (count < 1 || count > 1000) return invalid(fmt::format("count is {}; it must be 1 to 1000", count));
    JsonText out;
    out.begin_array();
    for (const auto& group : found->errors->top(found->now_us(), window_us, count)) write_group(out, group);
    return give_text(std::move(out.end_array()).str(), buffer, size);
  });
}

gf_status gf_aggregator_poll_alert_json(gf_aggregator* aggregator, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(aggregators(), aggregator, "aggregator"));
    const std::lock_guard lock(found->mutex);
    if (!found->held) {
      found->errors->tick(found->now_us());
      found->held = found->errors->next_alert();
    }
    if (!found->held) return Error{Status::would_block, "there is no alert now", {}};
    auto given = give_text(alert_json(*found->held), buffer, size);
    if (given && buffer != nullptr) found->held.reset();
    return given;
  });
}

gf_status gf_aggregator_report_json(gf_aggregator* aggregator, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(aggregators(), aggregator, "aggregator"));
    return give_text(report_json(*found->errors, found->now_us()), buffer, size);
  });
}

gf_status gf_aggregator_close(gf_aggregator* aggregator) {
  return firewall([&] { return release(aggregators(), aggregator, "aggregator"); });
}

}  // extern "C"
