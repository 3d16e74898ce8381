// Queues at the ABI: options and jobs in, jobs, outcomes and figures out.
#include "buffers.hpp"
#include "firewall.hpp"
#include "host_log.hpp"
#include "objects.hpp"
#include "queue_options.hpp"
#include "structs.hpp"

#include "queue/lease_keeper.hpp"
#include "queue/memory_queue.hpp"
#include "queue/redis_queue.hpp"
#include "queue/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using gf::Error;
using gf::JobId;
using gf::LogLevel;
using gf::Result;
using gf::Status;
using namespace gf::queue;

namespace gf::capi {

/// What a gf_queue stands for.
struct HostedQueue {
  HostLog log;
  std::string name;
  std::atomic<std::int64_t> lease_us;   // Of the options.
  std::unique_ptr<Queue> queue;         // Uses log.
  std::unique_ptr<LeaseKeeper> keeper;  // Uses queue.

  HostedQueue(gf_log_callback call, void* user_data, LogLevel level, std::string named, std::int64_t usual_lease_us)
      : log(call, user_data, level), name(std::move(named)), lease_us(usual_lease_us) {}

  void open(std::unique_ptr<Queue> opened) {
    queue = std::move(opened);
    keeper = std::make_unique<LeaseKeeper>(*queue);
  }

  /// A run has ended, or is somebody else's: then nobody need keep its lease. Any other failure may be tried again.
  template <class T>
  void after_end(const LeaseKey& key, const Result<T>& ended) noexcept {
    if (ended || ended.error().status == Status::lease_lost) keeper->let_go(key);
  }
};

/// What a gf_queue_jobs stands for.
struct SharedJobs {
  std::vector<JobRecord> jobs;
  std::string cursor;
};

QueueTable& queues() {
  static auto& table = *new QueueTable;
  return table;
}

QueueJobsTable& queue_jobs() {
  static auto& table = *new QueueJobsTable;
  return table;
}

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_queue_options) == 328);
static_assert(sizeof(gf_queue_job) == 128);
static_assert(sizeof(gf_queue_enqueued) == 32);
static_assert(sizeof(gf_lease_key) == 24);
static_assert(sizeof(gf_heartbeat) == 16);
static_assert(sizeof(gf_queue_result) == 32);
static_assert(sizeof(gf_queue_failure) == 24);
static_assert(sizeof(gf_queue_outcome) == 16);
static_assert(sizeof(gf_queue_filter) == 40);
static_assert(sizeof(gf_queue_job_info) == 152);
static_assert(sizeof(gf_queue_attempt) == 40);
static_assert(sizeof(gf_queue_event) == 56);
static_assert(sizeof(gf_queue_statistics) == 296);
constexpr std::size_t first_options_bytes = 328;
constexpr std::size_t first_job_bytes = 128;
constexpr std::size_t first_enqueued_bytes = 32;
constexpr std::size_t first_heartbeat_bytes = 16;
constexpr std::size_t first_result_bytes = 32;
constexpr std::size_t first_failure_bytes = 24;
constexpr std::size_t first_outcome_bytes = 16;
constexpr std::size_t first_filter_bytes = 40;
constexpr std::size_t first_info_bytes = 152;
constexpr std::size_t first_attempt_bytes = 40;
constexpr std::size_t first_event_bytes = 56;
constexpr std::size_t first_statistics_bytes = 296;

/// Jobs, events and keys that one call takes.
constexpr std::uint32_t most_at_once = 1000;

static_assert(same(JobState::delayed, GF_QUEUE_DELAYED, 1) && same(JobState::waiting, GF_QUEUE_WAITING, 1) &&
              same(JobState::running, GF_QUEUE_RUNNING, 1) && same(JobState::done, GF_QUEUE_DONE, 1) &&
              same(JobState::cancelled, GF_QUEUE_CANCELLED, 1) && same(JobState::expired, GF_QUEUE_EXPIRED, 1) &&
              same(JobState::dead, GF_QUEUE_DEAD, 1));
static_assert(same(HoldState::held, GF_LEASE_HELD, 1) &&
              same(HoldState::cancel_requested, GF_LEASE_CANCEL_REQUESTED, 1) &&
              same(HoldState::lost, GF_LEASE_LOST, 1));
static_assert(
    same(EventType::accepted, GF_QUEUE_EVENT_ACCEPTED, 1) && same(EventType::started, GF_QUEUE_EVENT_STARTED, 1) &&
    same(EventType::retried, GF_QUEUE_EVENT_RETRIED, 1) && same(EventType::released, GF_QUEUE_EVENT_RELEASED, 1) &&
    same(EventType::recovered, GF_QUEUE_EVENT_RECOVERED, 1) && same(EventType::done, GF_QUEUE_EVENT_DONE, 1) &&
    same(EventType::cancelled, GF_QUEUE_EVENT_CANCELLED, 1) && same(EventType::expired, GF_QUEUE_EVENT_EXPIRED, 1) &&
    same(EventType::dead, GF_QUEUE_EVENT_DEAD, 1) && same(EventType::requeued, GF_QUEUE_EVENT_REQUEUED, 1) &&
    same(EventType::removed, GF_QUEUE_EVENT_REMOVED, 1));
static_assert(same(AttemptEnd::failed, GF_ATTEMPT_FAILED, 1) && same(AttemptEnd::crashed, GF_ATTEMPT_CRASHED, 1) &&
              same(AttemptEnd::released, GF_ATTEMPT_RELEASED, 1));
static_assert(same(Durability::disk, GF_JOURNAL_DISK) && same(Durability::system, GF_JOURNAL_SYSTEM));
static_assert(same(CancelOutcome::cancelled, GF_CANCEL_ENDED, 1) &&
              same(CancelOutcome::requested, GF_CANCEL_REQUESTED, 1));
static_assert(same(Overflow::reject, GF_QUEUE_REJECT) &&
              same(Overflow::drop_oldest_lowest, GF_QUEUE_DROP_OLDEST_LOWEST) &&
              same(DeadOverflow::refuse, GF_DEAD_REFUSE) && same(DeadOverflow::expire_oldest, GF_DEAD_EXPIRE_OLDEST) &&
              same(LaneOrder::strict, GF_LANES_STRICT) && same(LaneOrder::weighted, GF_LANES_WEIGHTED) &&
              same(KeyScope::for_time, GF_KEY_FOR_TIME) && same(KeyScope::until_started, GF_KEY_UNTIL_STARTED) &&
              same(KeyScope::until_finished, GF_KEY_UNTIL_FINISHED) && same(OnDuplicate::join, GF_DUPLICATE_JOIN) &&
              same(OnDuplicate::refuse, GF_DUPLICATE_REFUSE) && same(FailureAction::by_rules, GF_FAILURE_BY_RULES) &&
              same(FailureAction::retry, GF_FAILURE_RETRY) && same(FailureAction::dead_letter, GF_FAILURE_DEAD));

// ---- In -------------------------------------------------------------------------------------------------------------

std::uint64_t limit_or(std::uint64_t given, std::uint64_t fallback) {
  return given == 0 ? fallback : given == GF_NO_LIMIT ? 0 : given;
}

template <class T>
T given_or(T given, T fallback) {
  return given == 0 ? fallback : given;
}

Result<gf_queue_options> read_struct(const gf_queue_options* given) {
  GF_TRY(const auto read, read_options(given, gf_queue_options GF_QUEUE_OPTIONS_INIT, first_options_bytes, "options"));
  constexpr std::uint32_t flags = GF_QUEUE_STRICT_SERVER | GF_QUEUE_NO_EVENTS | GF_QUEUE_FORGET_FINISHED;
  if ((read.flags & ~flags) != 0) {
    return Error{
        Status::unsupported, fmt::format("options->flags is {:#x}; this version knows {:#x}", read.flags, flags), {}};
  }
  return read;
}

Result<QueueOptions> queue_options(const gf_queue_options& read) {
  QueueOptions options;
  options.depth = {limit_or(read.max_jobs, options.depth.jobs), limit_or(read.max_bytes, options.depth.bytes)};
  for (std::size_t lane = 0; lane < lane_count; ++lane) {
    options.lane_depth[lane] = {limit_or(read.lane_max_jobs[lane], 0), limit_or(read.lane_max_bytes[lane], 0)};
    options.lane_max_age_us[lane] = wait_or(read.lane_max_age_us[lane], 0);
    options.lanes.weights[lane] = given_or(read.lane_weights[lane], options.lanes.weights[lane]);
  }
  options.reserved_for_high = read.reserved_for_high;
  options.max_payload_bytes = given_or(read.max_payload_bytes, options.max_payload_bytes);
  options.max_result_bytes = given_or(read.max_result_bytes, options.max_result_bytes);
  options.max_dead = limit_or(read.max_dead, options.max_dead);
  options.max_dead_bytes = limit_or(read.max_dead_bytes, options.max_dead_bytes);
  options.kept_finished = given_or(read.kept_finished, options.kept_finished);
  options.max_idempotency_keys = limit_or(read.max_idempotency_keys, options.max_idempotency_keys);
  options.max_age_us = wait_or(read.max_age_us, 0);
  options.lease_us = given_or(read.lease_us, options.lease_us);
  options.kept_finished_us = given_or(read.kept_finished_us, options.kept_finished_us);
  options.max_dead_us = wait_or(read.max_dead_us, 0);
  options.lanes.normal_max_wait_us = wait_or(read.normal_max_wait_us, options.lanes.normal_max_wait_us);
  options.lanes.low_max_wait_us = wait_or(read.low_max_wait_us, options.lanes.low_max_wait_us);
  options.lanes.user_running_limit = read.user_running_limit;
  options.lanes.user_start_rate = limits_of(read.user_start_rate);
  GF_TRY(options.overflow, known(read.overflow, Overflow::drop_oldest_lowest, "options->overflow"));
  GF_TRY(options.dead_overflow, known(read.dead_overflow, DeadOverflow::expire_oldest, "options->dead_overflow"));
  GF_TRY(options.lanes.order, known(read.lane_order, LaneOrder::weighted, "options->lane_order"));
  options.max_crashes = given_or(read.max_crashes, options.max_crashes);
  options.kept_events = given_or(read.kept_events, options.kept_events);
  if ((read.flags & GF_QUEUE_NO_EVENTS) != 0) options.kept_events = 0;
  if ((read.flags & GF_QUEUE_FORGET_FINISHED) != 0) options.kept_finished = 0;
  if (read.rule_count != 0 && read.rules == nullptr) {
    return invalid(fmt::format("options->rules is NULL, and options->rule_count {}", read.rule_count));
  }
  for (std::uint32_t index = 0; index < read.rule_count; ++index) {
    const auto& rule = read.rules[index];
    GF_TRY(const auto status, known_status(rule.status, fmt::format("options->rules[{}].status", index)));
    if (rule.action != GF_FAILURE_RETRY && rule.action != GF_FAILURE_DEAD) {
      return unknown_value(fmt::format("options->rules[{}].action", index), rule.action, GF_FAILURE_RETRY,
                           GF_FAILURE_DEAD);
    }
    options.retry_rules[status] = rule.action == GF_FAILURE_RETRY ? RetryRule::retry : RetryRule::never;
  }
  return options;
}

/// `name`: how messages call the struct.
Result<NewJob> read_job(const gf_queue_job* given, const std::string& name) {
  if (given == nullptr) return invalid(name + " is NULL");
  GF_TRY(const auto read, read_options(given, gf_queue_job GF_QUEUE_JOB_INIT, first_job_bytes, name));
  NewJob job;
  job.id = {read.id.high, read.id.low};
  GF_TRY(job.priority, read_priority(read.priority, name + "->priority"));
  job.user = text_or_empty(read.user);
  job.content_type = text_or_empty(read.content_type);
  if (read.payload == nullptr && read.payload_bytes != 0) {
    return invalid(fmt::format("{0}->payload is NULL, and {0}->payload_bytes {1}", name, read.payload_bytes));
  }
  // Before it is copied: a size that was never set must not be believed. No queue takes so much.
  constexpr std::uint64_t most = std::uint64_t{1} << 29;
  if (read.payload_bytes > most) {
    return Error{Status::payload_too_large,
                 fmt::format("{}->payload_bytes is {}; no queue takes more than {}", name, read.payload_bytes, most),
                 {}};
  }
  if (read.payload_bytes != 0) {
    job.payload.assign(reinterpret_cast<const char*>(read.payload), static_cast<std::size_t>(read.payload_bytes));
  }
  if (read.tag_count > max_tags || (read.tag_count != 0 && read.tags == nullptr)) {
    return invalid(fmt::format("{0}->tag_count is {1}; it must be at most {2}, and {0}->tags not NULL", name,
                               read.tag_count, max_tags));
  }
  for (std::uint32_t index = 0; index < read.tag_count; ++index) {
    GF_TRY(const auto tag, needed_text(read.tags[index], fmt::format("{}->tags[{}]", name, index)));
    job.tags.emplace_back(tag);
  }
  job.idempotency.key = text_or_empty(read.idempotency_key);
  GF_TRY(job.idempotency.scope, known(read.key_scope, KeyScope::until_finished, name + "->key_scope"));
  GF_TRY(job.idempotency.on_duplicate, known(read.on_duplicate, OnDuplicate::refuse, name + "->on_duplicate"));
  job.idempotency.ttl_us = given_or(read.key_ttl_us, job.idempotency.ttl_us);
  job.delay_us = read.delay_us;
  if (read.deadline_us < 0) {
    return invalid(fmt::format("{}->deadline_us is {}; it must not be negative", name, read.deadline_us));
  }
  if (read.deadline_us != 0 && read.deadline_us != GF_NEVER) job.deadline_us = read.deadline_us;
  job.retry.max_attempts = given_or(read.max_attempts, job.retry.max_attempts);
  job.retry.base_us = given_or(read.retry_base_us, job.retry.base_us);
  // A longer first wait than the default's longest says that longer ones are meant.
  job.retry.cap_us = given_or(read.retry_cap_us, std::max(job.retry.cap_us, job.retry.base_us));
  return job;
}

Result<JobFilter> read_filter(const gf_queue_filter* given) {
  GF_TRY(const auto read, read_options(given, gf_queue_filter GF_QUEUE_FILTER_INIT, first_filter_bytes, "filter"));
  JobFilter filter;
  if (read.state > GF_QUEUE_DEAD) return unknown_value("filter->state", read.state, GF_QUEUE_DELAYED, GF_QUEUE_DEAD);
  if (read.state != 0) filter.state = static_cast<JobState>(read.state - 1);
  if (read.reserved != 0) return unknown_value("filter->reserved", read.reserved, 0, 0);
  if (read.status != 0) {
    GF_TRY(filter.status, known_status(read.status, "filter->status"));
  }
  if (read.user != nullptr) filter.user = read.user;
  if (read.tag != nullptr) filter.tag = read.tag;
  if (read.older_than_us < 0) {
    return invalid(fmt::format("filter->older_than_us is {}; it must not be negative", read.older_than_us));
  }
  if (read.older_than_us != 0) filter.older_than_us = read.older_than_us;
  return filter;
}

Result<LeaseKey> read_key(const gf_lease_key* key, std::string_view what = "key") {
  if (key == nullptr) return invalid(fmt::format("{} is NULL", what));
  return LeaseKey{{key->job.high, key->job.low}, key->fencing_token};
}

Result<JobId> read_id(const gf_job_id* job) {
  if (job == nullptr) return invalid("job is NULL");
  return JobId{job->high, job->low};
}

Result<JobResult> read_result(const gf_queue_result* given, std::string_view name) {
  GF_TRY(const auto read, read_options(given, gf_queue_result GF_QUEUE_RESULT_INIT, first_result_bytes, name));
  if (read.reserved != 0) return unknown_value(fmt::format("{}->reserved", name), read.reserved, 0, 0);
  if (read.bytes == nullptr && read.byte_count != 0) {
    return invalid(fmt::format("{0}->bytes is NULL, and {0}->byte_count {1}", name, read.byte_count));
  }
  constexpr std::uint64_t most = std::uint64_t{1} << 24;
  if (read.byte_count > most) {
    return Error{Status::payload_too_large,
                 fmt::format("{}->byte_count is {}; no queue takes more than {}", name, read.byte_count, most),
                 {}};
  }
  JobResult result;
  result.reference = text_or_empty(read.reference);
  if (read.byte_count != 0) {
    result.bytes.assign(reinterpret_cast<const char*>(read.bytes), static_cast<std::size_t>(read.byte_count));
  }
  return result;
}

/// An array of structs that has the caller's own size of them as its step.
template <class T>
class Stepped {
 public:
  /// first: NULL where the array is left out. Errors: invalid_argument.
  static Result<Stepped> of(T* first, std::size_t first_size, std::string_view what) {
    if (first == nullptr) return Stepped(nullptr, 0);
    GF_TRYV(check_out(first, first_size, what));
    const std::size_t step = first->struct_size;
    if (step % alignof(T) != 0) {
      return invalid(fmt::format("{}->struct_size is {}; it must be a multiple of {}", what, step, alignof(T)));
    }
    return Stepped(reinterpret_cast<Bytes*>(first), step);
  }
  explicit operator bool() const { return bytes_ != nullptr; }
  T* at(std::size_t index) const { return reinterpret_cast<T*>(bytes_ + index * step_); }
  /// Whether the structs agree on their size.
  Result<void> check(std::uint32_t count, std::string_view what) const {
    for (std::uint32_t index = 0; bytes_ != nullptr && index < count; ++index) {
      if (at(index)->struct_size == step_) continue;
      return invalid(fmt::format("{0}[{1}].struct_size is {2}, and {0}[0].struct_size {3}", what, index,
                                 at(index)->struct_size, step_));
    }
    return success();
  }

 private:
  using Bytes = std::conditional_t<std::is_const_v<T>, const unsigned char, unsigned char>;
  Stepped(Bytes* bytes, std::size_t step) : bytes_(bytes), step_(step) {}
  Bytes* bytes_;
  std::size_t step_;
};

Result<void> check_count(std::uint32_t count) {
  if (count >= 1 && count <= most_at_once) return success();
  return invalid(fmt::format("count is {}; it must be 1 to {}", count, most_at_once));
}

template <class Out>
Result<void> check_optional_out(const Out* out, std::size_t first_size, std::string_view what) {
  return out == nullptr ? success() : check_out(out, first_size, what);
}

Result<void> needed(const void* out, std::string_view what) {
  return out != nullptr ? success() : Result<void>(invalid(fmt::format("{} is NULL", what)));
}

// ---- Out ------------------------------------------------------------------------------------------------------------

gf_job_id public_id(const JobId& id) { return {id.high, id.low}; }
std::uint32_t public_state(JobState state) { return static_cast<std::uint32_t>(state) + 1; }
std::uint32_t public_status(Status status) { return static_cast<std::uint32_t>(status); }

std::uint32_t public_priority(Priority priority) {
  return priority == Priority::high  ? GF_PRIORITY_HIGH
         : priority == Priority::low ? GF_PRIORITY_LOW
                                     : GF_PRIORITY_NORMAL;
}

gf_queue_enqueued public_enqueued(const Result<Enqueued>& result) {
  gf_queue_enqueued out = GF_QUEUE_ENQUEUED_INIT;
  if (!result) {
    out.status = public_status(result.error().status);
    return out;
  }
  out.id = public_id(result.value().id);
  out.duplicate = result.value().duplicate ? 1 : 0;
  out.state = public_state(result.value().state);
  return out;
}

gf_queue_outcome public_outcome(const FailOutcome& outcome) {
  gf_queue_outcome out = GF_QUEUE_OUTCOME_INIT;
  out.state = public_state(outcome.state);
  out.retry_in_us = outcome.retry_in_us;
  return out;
}

gf_queue_job_info public_info(const JobRecord& job) {
  gf_queue_job_info out = GF_QUEUE_JOB_INFO_INIT;
  out.state = public_state(job.state);
  out.key = {public_id(job.id), job.fencing_token};
  out.priority = public_priority(job.priority);
  out.attempt = job.failures + 1;
  out.failures = job.failures;
  out.crashes = job.crashes;
  out.max_attempts = job.retry.max_attempts;
  out.cancel_requested = job.cancel_requested ? 1 : 0;
  out.end_status = public_status(job.end_status);
  out.tag_count = static_cast<std::uint32_t>(job.tags.size());
  out.attempt_count = static_cast<std::uint32_t>(job.history.size());
  out.enqueued_us = job.enqueued_us;
  out.available_us = job.available_us;
  out.deadline_us = job.deadline_us;
  out.started_us = job.started_us;
  out.finished_us = job.finished_us;
  out.lease_expires_us = job.lease_expires_us;
  out.progress_done = job.progress.done;
  out.progress_total = job.progress.total;
  out.payload_bytes = job.payload.size();
  out.result_bytes = job.result.bytes.size();
  return out;
}

gf_queue_event public_event(const QueueEvent& event) {
  gf_queue_event out = GF_QUEUE_EVENT_INIT;
  out.type = static_cast<std::uint32_t>(event.type) + 1;
  out.sequence = event.sequence;
  out.job = public_id(event.id);
  out.fencing_token = event.fencing_token;
  out.unix_us = event.time_us;
  out.status = public_status(event.status);
  return out;
}

gf_queue_statistics public_statistics(const Statistics& statistics) {
  gf_queue_statistics out = GF_QUEUE_STATISTICS_INIT;
  out.paused = statistics.paused ? 1 : 0;
  std::copy(statistics.waiting.begin(), statistics.waiting.end(), out.waiting);
  out.delayed = statistics.delayed;
  out.running = statistics.running;
  out.dead = statistics.dead;
  out.finished_kept = statistics.finished_kept;
  out.payload_bytes = statistics.payload_bytes;
  out.dead_bytes = statistics.dead_bytes;
  out.users = statistics.users;
  out.oldest_waiting_us = statistics.oldest_waiting_us;
  const auto& totals = statistics.totals;
  out.accepted = totals.accepted;
  out.duplicates = totals.duplicates;
  out.rejected = totals.rejected;
  out.taken = totals.taken;
  out.renewed = totals.renewed;
  out.done = totals.done;
  out.failed = totals.failed;
  out.retried = totals.retried;
  out.released = totals.released;
  out.recovered = totals.recovered;
  out.fenced_off = totals.fenced_off;
  out.cancelled = totals.cancelled;
  out.expired = totals.expired;
  out.died = totals.died;
  out.dropped = totals.dropped;
  out.requeued = totals.requeued;
  out.removed = totals.removed;
  out.wait_count = statistics.wait.count();
  out.wait_p50_us = statistics.wait.quantile_us(0.5);
  out.wait_p90_us = statistics.wait.quantile_us(0.9);
  out.wait_p99_us = statistics.wait.quantile_us(0.99);
  out.run_count = statistics.run.count();
  out.run_p50_us = statistics.run.quantile_us(0.5);
  out.run_p90_us = statistics.run.quantile_us(0.9);
  out.run_p99_us = statistics.run.quantile_us(0.99);
  return out;
}

void fill(JobRecord& job, Lease&& lease, const std::string& worker) noexcept {
  job.id = lease.key.id;
  job.state = JobState::running;
  job.priority = lease.priority;
  job.user = std::move(lease.user);
  job.payload = std::move(lease.payload);
  job.content_type = std::move(lease.content_type);
  job.tags = std::move(lease.tags);
  job.enqueued_us = lease.enqueued_us;
  job.lease_expires_us = lease.expires_at_us;
  job.fencing_token = lease.key.fencing_token;
  job.failures = lease.attempt - 1;
  job.retry.max_attempts = 0;  // Not told.
  try {
    job.worker = worker;
  } catch (...) {  // It stands in the queue's own record, and is not worth a job.
  }
}

Result<std::shared_ptr<HostedQueue>> find_queue(const gf_queue* queue) { return find(queues(), queue, "queue"); }

/// Looks at one of the jobs of a handle.
template <class Look>
Result<void> with_job(gf_queue_jobs* jobs, std::uint32_t index, Look&& look) {
  GF_TRY(const auto found, find(queue_jobs(), jobs, "jobs"));
  if (index >= found->jobs.size()) {
    return Error{Status::not_found, fmt::format("index is {}; there are {} jobs", index, found->jobs.size()), {}};
  }
  return look(found->jobs[index]);
}

Error no_nth(std::string_view what, std::uint32_t nth, std::size_t count) {
  return {Status::not_found, fmt::format("nth is {}; there are {} {}", nth, count, what), {}};
}

/// A cursor is any bytes in the rooms, and text here: controls, DEL and % as %XX.
std::string cursor_text(std::string_view cursor) {
  std::string text;
  for (const char c : cursor) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || c == '%') {
      fmt::format_to(std::back_inserter(text), "%{:02X}", byte);
    } else {
      text += c;
    }
  }
  return text;
}

Result<std::string> cursor_bytes(std::string_view text) {
  std::string cursor;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      cursor += text[at];
      continue;
    }
    unsigned byte = 0;
    const auto* const digits = text.data() + at + 1;
    if (text.size() - at < 3 || std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2)
      return foreign_cursor();
    cursor += static_cast<char>(byte);
    at += 2;
  }
  return cursor;
}

/// Gives jobs that were read to the host, as a handle.
void give_jobs(SharedJobs&& jobs, gf_queue_jobs** out_jobs) {
  *out_jobs = queue_jobs().insert(std::make_shared<const SharedJobs>(std::move(jobs)));
}

/// Repeats a call that works in portions until nothing is left, or the time is over.
template <class Portion>
Result<void> until_done(std::int64_t timeout_us, std::uint64_t* out_changed, Portion&& portion) {
  GF_TRYV(gf::queue::check_timeout(timeout_us));
  std::uint64_t changed = 0;
  if (out_changed != nullptr) *out_changed = 0;
  const auto begun_us = system_clock().now_us();
  for (std::string cursor;;) {
    GF_TRY(auto outcome, portion(cursor));
    changed += outcome.changed;
    if (out_changed != nullptr) *out_changed = changed;
    cursor = std::move(outcome.cursor);
    if (cursor.empty()) return success();
    if (system_clock().now_us() - begun_us >= timeout_us) {
      return Error{
          Status::timed_out, fmt::format("{} jobs were changed in {} us; more may be left", changed, timeout_us), {}};
    }
  }
}

/// Of a call on many: the first error, which names its place. What each came to was told before, as this may have no
/// memory.
template <class T>
Result<void> first_error(std::vector<Result<T>>& results, std::string_view array) {
  for (std::size_t index = 0; index < results.size(); ++index) {
    if (results[index]) continue;
    auto error = std::move(results[index]).error();
    if (error.message.empty()) error.message = find_status(static_cast<std::int32_t>(error.status))->name;
    error.message = fmt::format("{}[{}]: {}", array, index, error.message);
    return error;
  }
  return success();
}

template <class T>
Error nothing_came(std::int64_t timeout_us, const T& what) {
  if (timeout_us == 0) return {Status::would_block, fmt::format("there is no {} now", what), {}};
  return {Status::timed_out, fmt::format("no {} came within {} us", what, timeout_us), {}};
}

}  // namespace

Result<Priority> read_priority(std::uint32_t priority, std::string_view what) {
  if (priority > GF_PRIORITY_LOW) return unknown_value(what, priority, GF_PRIORITY_NORMAL, GF_PRIORITY_LOW);
  return priority == GF_PRIORITY_HIGH ? Priority::high : priority == GF_PRIORITY_LOW ? Priority::low : Priority::normal;
}

Result<redis::ClientOptions> client_options(std::int64_t command_timeout_us) {
  redis::ClientOptions options;
  constexpr std::int64_t longest_us = 3'600'000'000;
  if (command_timeout_us < 0 || command_timeout_us > longest_us) {
    return invalid(
        fmt::format("options->command_timeout_us is {}; it must be 0 to {}", command_timeout_us, longest_us));
  }
  options.command_timeout_us = given_or(command_timeout_us, options.command_timeout_us);
  options.connect_timeout_us = std::min(options.connect_timeout_us, options.command_timeout_us);
  return options;
}

}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_queue_open(const gf_queue_options* options, gf_queue** out_queue) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_queue, "out_queue"));
    GF_TRY(const auto read, read_struct(options));
    GF_TRY(const auto inner, queue_options(read));
    if (read.log_level > GF_LOG_DEBUG) {
      return unknown_value("options->log_level", read.log_level, GF_LOG_OFF, GF_LOG_DEBUG);
    }
    auto hosted =
        std::make_shared<HostedQueue>(read.log_callback, read.log_user_data, static_cast<LogLevel>(read.log_level),
                                      read.name != nullptr ? read.name : "default", inner.lease_us);
    if (read.redis_url == nullptr) {
      MemoryQueueOptions memory;
      memory.queue = inner;
      memory.log = &hosted->log;
      if (read.journal != nullptr) {
        if (*read.journal == '\0') return invalid("options->journal is empty");
        memory.journal.emplace();
        memory.journal->path = read.journal;
        GF_TRY(memory.journal->durability,
               known(read.journal_durability, Durability::system, "options->journal_durability"));
      }
      GF_TRY(auto opened, MemoryQueue::create(std::move(memory)));
      hosted->open(std::move(opened));
    } else if (read.journal != nullptr) {
      return invalid("options->journal is set beside options->redis_url; a queue in Redis has none");
    } else {
      RedisQueueOptions redis;
      redis.url = read.redis_url;
      if (read.name_space != nullptr) redis.name_space = read.name_space;
      redis.name = hosted->name;
      redis.queue = inner;
      GF_TRY(redis.client, client_options(read.command_timeout_us));
      redis.log = &hosted->log;
      redis.strict = (read.flags & GF_QUEUE_STRICT_SERVER) != 0;
      GF_TRY(auto opened, RedisQueue::create(std::move(redis)));
      hosted->open(std::move(opened));
    }
    *out_queue = queues().insert(std::move(hosted));
    return gf::success();
  });
}

gf_status gf_queue_configure(gf_queue* queue, const gf_queue_options* options) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto read, read_struct(options));
    GF_TRY(const auto inner, queue_options(read));
    GF_TRYV(found->queue->configure(inner));
    found->lease_us = inner.lease_us;
    return gf::success();
  });
}

gf_status gf_queue_stop(gf_queue* queue) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    found->queue->close();
    return gf::success();
  });
}

gf_status gf_queue_close(gf_queue* queue) {
  return firewall([&]() -> Result<void> {
    if (queue == nullptr) return gf::success();
    GF_TRY(const auto found, find_queue(queue));
    if (found->keeper->is_own_thread()) {
      return Error{Status::wrong_state, "the queue cannot be closed by its log callback while a lease is renewed", {}};
    }
    if (!queues().take(queue)) return no_handle(queue, "queue");
    found->queue->close();
    return gf::success();
  });
}

gf_status gf_queue_enqueue(gf_queue* queue, const gf_queue_job* job, int64_t timeout_us,
                           gf_queue_enqueued* out_enqueued) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_optional_out(out_enqueued, first_enqueued_bytes, "out_enqueued"));
    GF_TRY(auto read, read_job(job, "job"));
    auto enqueued = found->queue->enqueue(std::move(read), timeout_us);
    if (out_enqueued != nullptr) write_out(out_enqueued, public_enqueued(enqueued));
    if (!enqueued) return std::move(enqueued).error();
    return gf::success();
  });
}

gf_status gf_queue_enqueue_many(gf_queue* queue, const gf_queue_job* jobs, uint32_t count,
                                gf_queue_enqueued* out_enqueued) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_count(count));
    GF_TRYV(needed(jobs, "jobs"));
    GF_TRY(const auto given, Stepped<const gf_queue_job>::of(jobs, first_job_bytes, "jobs"));
    GF_TRYV(given.check(count, "jobs"));
    GF_TRY(const auto out, Stepped<gf_queue_enqueued>::of(out_enqueued, first_enqueued_bytes, "out_enqueued"));
    GF_TRYV(out.check(count, "out_enqueued"));
    std::vector<NewJob> read;
    read.reserve(count);
    for (std::uint32_t index = 0; index < count; ++index) {
      GF_TRY(auto job, read_job(given.at(index), fmt::format("jobs[{}]", index)));
      read.push_back(std::move(job));
    }
    auto enqueued = found->queue->enqueue_many(std::move(read));
    for (std::uint32_t index = 0; out && index < count; ++index) {
      write_out(out.at(index), public_enqueued(enqueued[index]));
    }
    return first_error(enqueued, "jobs");
  });
}

gf_status gf_queue_reserve(gf_queue* queue, const char* worker, int64_t lease_us, int64_t timeout_us, uint32_t* count,
                           gf_queue_jobs** out_jobs) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_jobs, "out_jobs"));
    GF_TRYV(needed(count, "count"));
    const auto most = std::exchange(*count, 0);
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_count(most));
    GF_TRYV(gf::queue::check_timeout(timeout_us));
    ReserveRequest request;
    request.worker = text_or_empty(worker);
    request.count = most;
    request.lease_us = lease_us;
    request.timeout_us = std::min(timeout_us, longest_timeout_us);
    // The places are made first: jobs that are taken and then cannot be told would count as crashed.
    const auto jobs = std::make_shared<SharedJobs>();
    jobs->jobs.resize(most);
    auto* const handle = queue_jobs().insert(jobs);
    auto leases = [&] {
      try {
        return found->queue->reserve(request);
      } catch (...) {
        queue_jobs().take(handle);
        throw;
      }
    }();
    if (!leases || leases.value().empty()) {
      queue_jobs().take(handle);
      if (!leases) return std::move(leases).error();
      return nothing_came(timeout_us, "job");
    }
    const auto taken = leases.value().size();
    for (std::size_t index = 0; index < taken; ++index) {
      fill(jobs->jobs[index], std::move(leases.value()[index]), request.worker);
    }
    jobs->jobs.resize(taken);
    *out_jobs = handle;
    *count = static_cast<std::uint32_t>(taken);
    return gf::success();
  });
}

gf_status gf_queue_extend(gf_queue* queue, const gf_lease_key* key, int64_t lease_us, gf_heartbeat* out_heartbeat) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_optional_out(out_heartbeat, first_heartbeat_bytes, "out_heartbeat"));
    GF_TRY(const auto lease, read_key(key));
    GF_TRY(const auto heartbeat, found->queue->extend(lease, lease_us));
    if (out_heartbeat == nullptr) return gf::success();
    gf_heartbeat out = GF_HEARTBEAT_INIT;
    out.cancel_requested = heartbeat.cancel_requested ? 1 : 0;
    out.expires_at_us = heartbeat.expires_at_us;
    write_out(out_heartbeat, out);
    return gf::success();
  });
}

gf_status gf_queue_hold(gf_queue* queue, const gf_lease_key* key, int64_t lease_us) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto lease, read_key(key));
    GF_TRYV(found->keeper->hold(lease, lease_us == 0 ? found->lease_us.load() : lease_us));
    return gf::success();
  });
}

gf_status gf_queue_hold_state(gf_queue* queue, const gf_lease_key* key, uint32_t* out_state) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto lease, read_key(key));
    GF_TRYV(needed(out_state, "out_state"));
    GF_TRY(const auto state, found->keeper->state(lease));
    *out_state = static_cast<std::uint32_t>(state) + 1;
    return gf::success();
  });
}

gf_status gf_queue_let_go(gf_queue* queue, const gf_lease_key* key) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto lease, read_key(key));
    if (!found->keeper->let_go(lease)) return LeaseKeeper::not_kept(lease);
    return gf::success();
  });
}

gf_status gf_queue_report_progress(gf_queue* queue, const gf_lease_key* key, uint64_t done, uint64_t total,
                                   const char* note) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto lease, read_key(key));
    return found->queue->report_progress(lease, {done, total, std::string(text_or_empty(note))});
  });
}

gf_status gf_queue_complete(gf_queue* queue, const gf_lease_key* key, const gf_queue_result* result) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto lease, read_key(key));
    GF_TRY(auto read, read_result(result, "result"));
    const auto ended = found->queue->complete(lease, std::move(read));
    found->after_end(lease, ended);
    return ended;
  });
}

gf_status gf_queue_complete_many(gf_queue* queue, const gf_lease_key* keys, const gf_queue_result* results,
                                 uint32_t count, uint32_t* out_statuses) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_count(count));
    GF_TRYV(needed(keys, "keys"));
    GF_TRY(const auto given, Stepped<const gf_queue_result>::of(results, first_result_bytes, "results"));
    GF_TRYV(given.check(count, "results"));
    std::vector<Completion> completions(count);
    for (std::uint32_t index = 0; index < count; ++index) {
      GF_TRY(completions[index].key, read_key(keys + index));
      if (!given) continue;
      GF_TRY(completions[index].result, read_result(given.at(index), fmt::format("results[{}]", index)));
    }
    std::vector<LeaseKey> leases;
    leases.reserve(count);
    for (const auto& completion : completions) leases.push_back(completion.key);
    auto ended = found->queue->complete_many(std::move(completions));
    for (std::uint32_t index = 0; index < count; ++index) found->after_end(leases[index], ended[index]);
    for (std::uint32_t index = 0; out_statuses != nullptr && index < count; ++index) {
      out_statuses[index] = public_status(ended[index] ? Status::ok : ended[index].error().status);
    }
    return first_error(ended, "keys");
  });
}

gf_status gf_queue_fail(gf_queue* queue, const gf_lease_key* key, const gf_queue_failure* failure,
                        gf_queue_outcome* out_outcome) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_optional_out(out_outcome, first_outcome_bytes, "out_outcome"));
    GF_TRY(const auto lease, read_key(key));
    GF_TRYV(needed(failure, "failure"));
    GF_TRY(const auto read,
           read_options(failure, gf_queue_failure GF_QUEUE_FAILURE_INIT, first_failure_bytes, "failure"));
    if (read.reserved != 0) return unknown_value("failure->reserved", read.reserved, 0, 0);
    Failure inner;
    GF_TRY(inner.status, known_status(read.status, "failure->status"));
    if (inner.status == Status::ok) return invalid("failure->status is 0; it must say what failed");
    GF_TRY(inner.action, known(read.action, FailureAction::dead_letter, "failure->action"));
    inner.message = text_or_empty(read.message);
    const auto outcome = found->queue->fail(lease, inner);
    found->after_end(lease, outcome);
    if (!outcome) return outcome.error();
    if (out_outcome != nullptr) write_out(out_outcome, public_outcome(outcome.value()));
    return gf::success();
  });
}

gf_status gf_queue_release_lease(gf_queue* queue, const gf_lease_key* key, int64_t delay_us,
                                 gf_queue_outcome* out_outcome) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_optional_out(out_outcome, first_outcome_bytes, "out_outcome"));
    GF_TRY(const auto lease, read_key(key));
    const auto outcome = found->queue->release(lease, delay_us);
    found->after_end(lease, outcome);
    if (!outcome) return outcome.error();
    if (out_outcome != nullptr) write_out(out_outcome, public_outcome(outcome.value()));
    return gf::success();
  });
}

gf_status gf_queue_cancel(gf_queue* queue, const gf_job_id* job, uint32_t* out_outcome) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto id, read_id(job));
    GF_TRY(const auto outcome, found->queue->cancel(id));
    if (out_outcome != nullptr) *out_outcome = static_cast<std::uint32_t>(outcome) + 1;
    return gf::success();
  });
}

gf_status gf_queue_get(gf_queue* queue, const gf_job_id* job, gf_queue_jobs** out_jobs) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_jobs, "out_jobs"));
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto id, read_id(job));
    GF_TRY(auto record, found->queue->get(id));
    SharedJobs jobs;
    jobs.jobs.push_back(std::move(record));
    give_jobs(std::move(jobs), out_jobs);
    return gf::success();
  });
}

gf_status gf_queue_list(gf_queue* queue, const gf_queue_filter* filter, const char* cursor, uint32_t limit,
                        gf_queue_jobs** out_jobs) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_jobs, "out_jobs"));
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto read, read_filter(filter));
    GF_TRY(const auto from, cursor_bytes(cursor == nullptr ? std::string_view() : std::string_view(cursor)));
    GF_TRY(auto page, found->queue->list(read, from, limit));
    give_jobs({std::move(page.jobs), cursor_text(page.cursor)}, out_jobs);
    return gf::success();
  });
}

gf_status gf_queue_purge(gf_queue* queue, const gf_queue_filter* filter, int64_t timeout_us, uint64_t* out_changed) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto read, read_filter(filter));
    return until_done(timeout_us, out_changed,
                      [&](const std::string& cursor) { return found->queue->purge(read, cursor); });
  });
}

gf_status gf_queue_requeue(gf_queue* queue, const gf_job_id* job) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto id, read_id(job));
    return found->queue->requeue(id);
  });
}

gf_status gf_queue_requeue_many(gf_queue* queue, const gf_queue_filter* filter, int64_t timeout_us,
                                uint64_t* out_changed) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto read, read_filter(filter));
    return until_done(timeout_us, out_changed,
                      [&](const std::string& cursor) { return found->queue->requeue_many(read, cursor); });
  });
}

gf_status gf_queue_pause(gf_queue* queue, uint32_t paused) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto wanted, truth(paused, "paused"));
    return found->queue->set_paused(wanted);
  });
}

gf_status gf_queue_drain(gf_queue* queue, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto drained, found->queue->drain(timeout_us));
    if (!drained) return Error{Status::timed_out, fmt::format("jobs still run after {} us", timeout_us), {}};
    return gf::success();
  });
}

gf_status gf_queue_sweep(gf_queue* queue, uint32_t* out_more) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto more, found->queue->sweep());
    if (out_more != nullptr) *out_more = more ? 1 : 0;
    return gf::success();
  });
}

gf_status gf_queue_read_statistics(gf_queue* queue, gf_queue_statistics* out_statistics) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(check_out(out_statistics, first_statistics_bytes, "out_statistics"));
    GF_TRY(const auto statistics, found->queue->statistics());
    write_out(out_statistics, public_statistics(statistics));
    return gf::success();
  });
}

gf_status gf_queue_statistics_json(gf_queue* queue, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto statistics, found->queue->statistics());
    return give_text(statistics_json(statistics), buffer, size);
  });
}

gf_status gf_queue_prometheus_text(gf_queue* queue, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto statistics, found->queue->statistics());
    return give_text(prometheus_text(statistics, found->name), buffer, size);
  });
}

gf_status gf_queue_user_statistics(gf_queue* queue, const char* user, uint64_t* out_waiting, uint64_t* out_running) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find_queue(queue));
    GF_TRY(const auto name, needed_text(user, "user"));
    GF_TRY(const auto statistics, found->queue->user_statistics(std::string(name)));
    if (out_waiting != nullptr) *out_waiting = statistics.waiting;
    if (out_running != nullptr) *out_running = statistics.running;
    return gf::success();
  });
}

gf_status gf_queue_read_events(gf_queue* queue, uint64_t* after, int64_t timeout_us, uint32_t* count,
                               gf_queue_event* out_events, uint64_t* out_missed) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(needed(count, "count"));
    const auto room = std::exchange(*count, 0);
    GF_TRY(const auto found, find_queue(queue));
    GF_TRYV(needed(after, "after"));
    GF_TRYV(check_count(room));
    GF_TRYV(needed(out_events, "out_events"));
    GF_TRY(const auto out, Stepped<gf_queue_event>::of(out_events, first_event_bytes, "out_events"));
    GF_TRYV(out.check(room, "out_events"));
    GF_TRYV(gf::queue::check_timeout(timeout_us));
    GF_TRY(const auto page, found->queue->events(*after, room, std::min(timeout_us, longest_timeout_us)));
    if (out_missed != nullptr) *out_missed = page.missed;
    *after = page.next;
    if (page.events.empty()) return nothing_came(timeout_us, "event");
    for (std::size_t index = 0; index < page.events.size(); ++index) {
      write_out(out.at(index), public_event(page.events[index]));
    }
    *count = static_cast<std::uint32_t>(page.events.size());
    return gf::success();
  });
}

gf_status gf_queue_jobs_count(gf_queue_jobs* jobs, uint32_t* out_count) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(queue_jobs(), jobs, "jobs"));
    GF_TRYV(needed(out_count, "out_count"));
    *out_count = static_cast<std::uint32_t>(found->jobs.size());
    return gf::success();
  });
}

gf_status gf_queue_jobs_info(gf_queue_jobs* jobs, uint32_t index, gf_queue_job_info* out_info) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_out(out_info, first_info_bytes, "out_info"));
    return with_job(jobs, index, [&](const JobRecord& job) -> Result<void> {
      write_out(out_info, public_info(job));
      return gf::success();
    });
  });
}

gf_status gf_queue_jobs_attempt(gf_queue_jobs* jobs, uint32_t index, uint32_t nth, gf_queue_attempt* out_attempt) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_out(out_attempt, first_attempt_bytes, "out_attempt"));
    return with_job(jobs, index, [&](const JobRecord& job) -> Result<void> {
      if (nth >= job.history.size()) return no_nth("entries of history", nth, job.history.size());
      const auto& attempt = job.history[nth];
      gf_queue_attempt out = GF_QUEUE_ATTEMPT_INIT;
      out.end = static_cast<std::uint32_t>(attempt.end) + 1;
      out.fencing_token = attempt.fencing_token;
      out.started_us = attempt.started_us;
      out.ended_us = attempt.ended_us;
      out.status = public_status(attempt.status);
      write_out(out_attempt, out);
      return gf::success();
    });
  });
}

gf_status gf_queue_jobs_text(gf_queue_jobs* jobs, uint32_t index, uint32_t which, uint32_t nth, char* buffer,
                             uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    return with_job(jobs, index, [&](const JobRecord& job) -> Result<void> {
      switch (which) {
        case GF_QUEUE_TEXT_USER:
          return give_text(job.user, buffer, size);
        case GF_QUEUE_TEXT_CONTENT_TYPE:
          return give_text(job.content_type, buffer, size);
        case GF_QUEUE_TEXT_TAG:
          if (nth >= job.tags.size()) return no_nth("tags", nth, job.tags.size());
          return give_text(job.tags[nth], buffer, size);
        case GF_QUEUE_TEXT_IDEMPOTENCY_KEY:
          return give_text(job.idempotency_key, buffer, size);
        case GF_QUEUE_TEXT_WORKER:
          return give_text(job.worker, buffer, size);
        case GF_QUEUE_TEXT_PROGRESS_NOTE:
          return give_text(job.progress.note, buffer, size);
        case GF_QUEUE_TEXT_RESULT_REFERENCE:
          return give_text(job.result.reference, buffer, size);
        case GF_QUEUE_TEXT_END_MESSAGE:
          return give_text(job.end_message, buffer, size);
        case GF_QUEUE_TEXT_ATTEMPT_WORKER:
        case GF_QUEUE_TEXT_ATTEMPT_MESSAGE:
          if (nth >= job.history.size()) return no_nth("entries of history", nth, job.history.size());
          return give_text(which == GF_QUEUE_TEXT_ATTEMPT_WORKER ? job.history[nth].worker : job.history[nth].message,
                           buffer, size);
        default:
          return unknown_value("which", which, GF_QUEUE_TEXT_USER, GF_QUEUE_TEXT_ATTEMPT_MESSAGE);
      }
    });
  });
}

gf_status gf_queue_jobs_bytes(gf_queue_jobs* jobs, uint32_t index, uint32_t which, const uint8_t** out_bytes,
                              uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_bytes, "out_bytes"));
    GF_TRYV(check_size(size));
    return with_job(jobs, index, [&](const JobRecord& job) -> Result<void> {
      if (which != GF_QUEUE_BYTES_PAYLOAD && which != GF_QUEUE_BYTES_RESULT) {
        return unknown_value("which", which, GF_QUEUE_BYTES_PAYLOAD, GF_QUEUE_BYTES_RESULT);
      }
      const auto& bytes = which == GF_QUEUE_BYTES_PAYLOAD ? job.payload : job.result.bytes;
      *out_bytes = reinterpret_cast<const std::uint8_t*>(bytes.data());
      *size = bytes.size();
      return gf::success();
    });
  });
}

gf_status gf_queue_jobs_json(gf_queue_jobs* jobs, uint32_t index, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    return with_job(jobs, index, [&](const JobRecord& job) { return give_text(job_json(job), buffer, size); });
  });
}

gf_status gf_queue_jobs_cursor(gf_queue_jobs* jobs, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(queue_jobs(), jobs, "jobs"));
    return give_text(found->cursor, buffer, size);
  });
}

gf_status gf_queue_jobs_release(gf_queue_jobs* jobs) {
  return firewall([&] { return release(queue_jobs(), jobs, "jobs"); });
}

}  // extern "C"
