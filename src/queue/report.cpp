#include "queue/report.hpp"

#include "base/json_text.hpp"
#include "base/status.hpp"

#include <array>
#include <cstddef>

namespace gf::queue {
namespace {

JsonText& time_or_null(JsonText& out, std::string_view name, std::int64_t unix_us) {
  out.key(name);
  return unix_us == 0 ? out.null() : out.number(unix_us);
}

JsonText& status_or_null(JsonText& out, Status status) {
  out.key("status");
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  return status == Status::ok ? out.null() : out.text(entry == nullptr ? "unknown" : entry->name);
}

void write_attempt(JsonText& out, const Attempt& attempt) {
  out.begin_object()
      .member("fencing_token", attempt.fencing_token)
      .member("end", name_of(attempt.end))
      .member("started_us", attempt.started_us)
      .member("ended_us", attempt.ended_us);
  status_or_null(out, attempt.status)
      .text_or_null("worker", attempt.worker)
      .text_or_null("message", attempt.message)
      .end_object();
}

void write_histogram(JsonText& out, const Histogram& histogram) {
  out.begin_object()
      .member("count", histogram.count())
      .member("sum_us", histogram.sum_us())
      .member("p50_us", histogram.quantile_us(0.5))
      .member("p90_us", histogram.quantile_us(0.9))
      .member("p99_us", histogram.quantile_us(0.99))
      .key("buckets")
      .begin_array();
  for (std::size_t bucket = 0; bucket < Histogram::bucket_count; ++bucket) {
    const auto count = histogram.buckets()[bucket];
    if (count == 0) continue;
    out.begin_array().number(Histogram::upper_us(bucket)).number(count).end_array();
  }
  out.end_array().end_object();
}

}  // namespace

std::string_view name_of(AttemptEnd end) {
  static constexpr std::array<std::string_view, 3> names{"failed", "crashed", "released"};
  return names[static_cast<std::size_t>(end)];
}

std::string_view name_of(EventType type) {
  static constexpr std::array<std::string_view, event_type_count> names{
      "accepted",  "started", "retried", "released", "recovered", "done",
      "cancelled", "expired", "dead",    "requeued", "removed"};
  return names[static_cast<std::size_t>(type)];
}

std::string job_json(const JobRecord& job) {
  JsonText out;
  out.begin_object()
      .member("id", to_text(job.id))
      .member("state", name_of(job.state))
      .member("priority", name_of(job.priority))
      .member("user", job.user)
      .member("tags", job.tags)
      .text_or_null("content_type", job.content_type)
      .text_or_null("idempotency_key", job.idempotency_key)
      .member("payload_bytes", job.payload.size());
  time_or_null(out, "enqueued_us", job.enqueued_us);
  time_or_null(out, "available_us", job.available_us);
  time_or_null(out, "deadline_us", job.deadline_us);
  time_or_null(out, "started_us", job.started_us);
  time_or_null(out, "finished_us", job.finished_us);
  time_or_null(out, "lease_expires_us", job.lease_expires_us);
  out.member("fencing_token", job.fencing_token)
      .text_or_null("worker", job.worker)
      .member("failures", job.failures)
      .member("crashes", job.crashes)
      .member("max_attempts", job.retry.max_attempts)
      .member("cancel_requested", job.cancel_requested);
  out.key("progress")
      .begin_object()
      .member("done", job.progress.done)
      .member("total", job.progress.total)
      .text_or_null("note", job.progress.note)
      .end_object();
  out.key("result")
      .begin_object()
      .text_or_null("reference", job.result.reference)
      .member("bytes", job.result.bytes.size())
      .end_object();
  out.key("history").begin_array();
  for (const auto& attempt : job.history) write_attempt(out, attempt);
  out.end_array();
  out.key("end").begin_object();
  status_or_null(out, job.end_status).text_or_null("message", job.end_message).end_object();
  out.end_object();
  return std::move(out).str();
}

std::string statistics_json(const Statistics& statistics) {
  JsonText out;
  out.begin_object().key("waiting").begin_object();
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    out.member(name_of(static_cast<Priority>(lane)), statistics.waiting[lane]);
  }
  out.end_object()
      .member("delayed", statistics.delayed)
      .member("running", statistics.running)
      .member("dead", statistics.dead)
      .member("finished_kept", statistics.finished_kept)
      .member("payload_bytes", statistics.payload_bytes)
      .member("dead_bytes", statistics.dead_bytes)
      .member("users", statistics.users)
      .member("oldest_waiting_us", statistics.oldest_waiting_us)
      .member("paused", statistics.paused);
  const auto& totals = statistics.totals;
  out.key("totals")
      .begin_object()
      .member("accepted", totals.accepted)
      .member("duplicates", totals.duplicates)
      .member("rejected", totals.rejected)
      .member("taken", totals.taken)
      .member("renewed", totals.renewed)
      .member("done", totals.done)
      .member("failed", totals.failed)
      .member("retried", totals.retried)
      .member("released", totals.released)
      .member("recovered", totals.recovered)
      .member("fenced_off", totals.fenced_off)
      .member("cancelled", totals.cancelled)
      .member("expired", totals.expired)
      .member("died", totals.died)
      .member("dropped", totals.dropped)
      .member("requeued", totals.requeued)
      .member("removed", totals.removed)
      .end_object();
  out.key("wait");
  write_histogram(out, statistics.wait);
  out.key("run");
  write_histogram(out, statistics.run);
  out.end_object();
  return std::move(out).str();
}

}  // namespace gf::queue
