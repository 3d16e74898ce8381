// queue: carries jobs from admission to acknowledgement; what a job computes is none of its business.
// This header: the queue as an interface, which the in-process queue and the one in Redis keep alike.
#pragma once

#include "queue/histogram.hpp"
#include "queue/job.hpp"
#include "queue/lanes.hpp"
#include "queue/retry.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gf::queue {

/// What an enqueue does that finds the queue full.
enum class Overflow : std::uint32_t {
  reject = 0,              ///< queue_full, with figures; at the end of the timeout where one is given.
  drop_oldest_lowest = 1,  ///< The oldest job of the lowest lane, none above the new one's, goes to the dead letters.
};

/// What an enqueue does that finds the dead letters full.
enum class DeadOverflow : std::uint32_t {
  refuse = 0,         ///< queue_full, with the reason; jobs that are in still end there, so that nothing is lost.
  expire_oldest = 1,  ///< The oldest dead letter is removed, written to the log, and counted.
};

/// Of one lane or of the whole queue; 0: no limit.
struct DepthLimit {
  std::uint64_t jobs = 0;   ///< That wait or are delayed.
  std::uint64_t bytes = 0;  ///< Of their payloads.
};

struct QueueOptions {
  LaneRules lanes;
  DepthLimit depth{1'000'000, std::uint64_t{1} << 32};
  std::array<DepthLimit, lane_count> lane_depth{};
  std::uint64_t reserved_for_high = 0;  ///< Places of `depth.jobs` that only jobs of high priority may take.
  std::int64_t max_age_us = 0;          ///< A job that waits longer ends as expired; 0: none does.
  std::array<std::int64_t, lane_count> lane_max_age_us{};  ///< The same of one lane's jobs; the shorter counts.
  Overflow overflow = Overflow::reject;
  std::uint64_t max_payload_bytes = 1 << 20;
  std::uint64_t max_result_bytes = 4096;  ///< Reference and bytes together.
  std::int64_t lease_us = 30'000'000;     ///< Where a reserve names none.
  std::uint32_t max_crashes = 3;       ///< Leases that may run out, or be given back, before a job is dead. 1 to 1000.
  RetryRules retry_rules;              ///< Where they differ from the status table.
  std::uint64_t kept_finished = 1000;  ///< Jobs that are over and can still be read.
  std::int64_t kept_finished_us = 3600'000'000;           ///< And how long.
  std::uint64_t max_dead = 10'000;                        ///< 0: no limit, as in the next.
  std::uint64_t max_dead_bytes = std::uint64_t{1} << 30;  ///< Of their payloads.
  std::int64_t max_dead_us = 0;                           ///< A dead letter older than this is removed; 0: none is.
  DeadOverflow dead_overflow = DeadOverflow::refuse;
  std::uint64_t max_idempotency_keys = 1'000'000;
  std::uint32_t kept_events = 4096;  ///< 0: none are made.
};

/// Errors: invalid_argument names the option that is out of its range.
Result<void> check(const QueueOptions& options);
/// How long a job of that priority may wait; 0: for ever.
std::int64_t max_age_us(const QueueOptions& options, Priority priority);
/// Errors: invalid_argument names the field; payload_too_large.
Result<void> check(const NewJob& job, const QueueOptions& options);
/// A name from outside (user, worker, tag, key): UTF-8, no control characters, at most max_name_bytes.
Result<void> check_name(std::string_view what, std::string_view name, bool may_be_empty);
/// What the queue keeps of a message: at most max_message_bytes, cut at a character, valid UTF-8.
std::string cut_message(std::string_view message);

struct ReserveRequest {
  std::string worker;                          ///< Who asks: shown in records. May be empty.
  std::uint32_t count = 1;                     ///< At most so many jobs; 1 to 1000.
  std::int64_t lease_us = 0;                   ///< 0: the queue's. At most max_delay_us.
  std::optional<std::int64_t> timeout_us = 0;  ///< Wait so long for a first job; nullopt: until close().
};

/// Errors: invalid_argument names the field.
Result<void> check(const ReserveRequest& request);
Result<void> check_timeout(std::int64_t timeout_us);
/// As good as any longer time, and it overflows no clock: a year.
inline constexpr std::int64_t longest_timeout_us = 365LL * 24 * 3600 * 1'000'000;

struct Completion {
  LeaseKey key;
  JobResult result;
};

enum class CancelOutcome : std::uint32_t {
  cancelled = 0,  ///< It waited, and has ended.
  requested = 1,  ///< It runs: its holder learns at the next heartbeat, and it never runs again.
};

/// Which jobs a call means. Every field that is set must fit.
struct JobFilter {
  JobState state = JobState::dead;
  std::optional<std::string> user = std::nullopt;
  std::optional<std::string> tag = std::nullopt;
  std::optional<Status> status = std::nullopt;  ///< Of dead letters.
  std::optional<std::int64_t> older_than_us =
      std::nullopt;  ///< In this state (waiting: since its enqueue) for longer than that.
};

// What every queue refuses alike, in the same words.
Error queue_is_closed();
Error unknown_job(const JobId& id);
Error no_dead_letter(const JobId& id, JobState state);
Error foreign_cursor();
Error makes_no_events();
Result<void> check_page(std::uint32_t limit);
/// Whether purge() and requeue_many() take jobs of the filter's state.
Result<void> check_purge(const JobFilter& filter);
Result<void> check_requeue(const JobFilter& filter);

/// Part of a list. Jobs that are there all the time are listed exactly once, others at most once.
struct JobPage {
  std::vector<JobRecord> jobs;
  std::string cursor;  ///< For the next call; empty after the last page.
};

/// What a call on many jobs did. Each call looks at a bounded number of them.
struct BulkOutcome {
  std::uint64_t changed = 0;
  std::string cursor;  ///< For the next call; empty when all were looked at.
};

enum class EventType : std::uint32_t {
  accepted = 0,
  started = 1,
  retried = 2,    ///< A run failed; the job waits again.
  released = 3,   ///< Given back by its holder.
  recovered = 4,  ///< Its lease ran out; it waits again.
  done = 5,
  cancelled = 6,
  expired = 7,
  dead = 8,
  requeued = 9,  ///< Put back from the dead letters.
  removed = 10,  ///< A dead letter was purged, or expired.
};
inline constexpr std::size_t event_type_count = 11;

struct QueueEvent {
  std::uint64_t sequence = 0;  ///< Rises by one with every event of the queue.
  EventType type = EventType::accepted;
  JobId id;
  std::uint64_t fencing_token = 0;
  Status status = Status::ok;
  std::int64_t time_us = 0;
};

struct EventPage {
  std::vector<QueueEvent> events;
  std::uint64_t next = 0;    ///< What to pass as `after` in the next call.
  std::uint64_t missed = 0;  ///< Events after `after` that are no longer kept.
};

/// How many there were since the queue was made. At all times accepted = waiting + delayed + running + done +
/// cancelled + expired + dead + removed, with the first three and `dead` from Statistics.
struct QueueTotals {
  std::uint64_t accepted = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t rejected = 0;  ///< For want of room. In Redis who waits for it counts at each look.
  std::uint64_t taken = 0;
  std::uint64_t renewed = 0;
  std::uint64_t done = 0;
  std::uint64_t failed = 0;  ///< Runs.
  std::uint64_t retried = 0;
  std::uint64_t released = 0;
  std::uint64_t recovered = 0;   ///< Leases that ran out.
  std::uint64_t fenced_off = 0;  ///< Calls with a token that was not the newest.
  std::uint64_t cancelled = 0;
  std::uint64_t expired = 0;
  std::uint64_t died = 0;     ///< Ways into the dead letters.
  std::uint64_t dropped = 0;  ///< Of these, for want of room.
  std::uint64_t requeued = 0;
  std::uint64_t removed = 0;  ///< Out of the dead letters for good.
};

struct Statistics {
  std::array<std::uint64_t, lane_count> waiting{};
  std::uint64_t delayed = 0;
  std::uint64_t running = 0;
  std::uint64_t dead = 0;
  std::uint64_t finished_kept = 0;
  std::uint64_t payload_bytes = 0;  ///< Of what waits or is delayed.
  std::uint64_t dead_bytes = 0;
  std::uint64_t users = 0;
  std::int64_t oldest_waiting_us = 0;  ///< How long the oldest job waits; 0 when none does.
  bool paused = false;
  QueueTotals totals;
  Histogram wait;  ///< From when a job could run until it was taken, microseconds.
  Histogram run;   ///< From its take until it was done.
};

/// Prometheus' text format 0.0.4, with metrics `gameforge_queue_*` and the label `queue`.
std::string prometheus_text(const Statistics& statistics, std::string_view queue_name);

struct UserStatistics {
  std::uint64_t waiting = 0;
  std::uint64_t running = 0;
};

/// A queue. Every job that an enqueue answered with its id ends as done, cancelled or expired, or is in the dead
/// letters until somebody removes it there; `Statistics` lets the sum be checked at any time.
///
/// What ends, prolongs or changes a run takes a LeaseKey, and answers lease_lost, with nothing changed, when the job
/// has another token by now or no longer runs. Time is the queue's own (the given clock; Redis: the server's).
///
/// Threads: any, unless a class says otherwise. Errors besides those named: redis_error, network_error, unauthorised,
/// queue_full (the server is out of memory) of queues in Redis; out_of_host_memory.
class Queue {
 public:
  virtual ~Queue() = default;

  /// timeout_us: how long to wait for room; 0: not at all.
  /// Errors: those of check(); already_exists for an id that is in use, or a key as OnDuplicate says; queue_full names
  /// the limit and the figures; shutting_down.
  virtual Result<Enqueued> enqueue(NewJob job, std::int64_t timeout_us = 0) = 0;
  /// Each as if alone, in order, without waiting.
  virtual std::vector<Result<Enqueued>> enqueue_many(std::vector<NewJob> jobs) = 0;

  /// Takes jobs that may run now; none after the timeout, or while the queue is paused. Errors: shutting_down.
  virtual Result<std::vector<Lease>> reserve(const ReserveRequest& request) = 0;

  /// Prolongs a lease to `lease_us` from now; 0: the queue's. Errors: lease_lost.
  virtual Result<Heartbeat> extend(const LeaseKey& key, std::int64_t lease_us = 0) = 0;
  /// Errors: lease_lost.
  virtual Result<void> report_progress(const LeaseKey& key, const Progress& progress) = 0;
  /// Errors: lease_lost; payload_too_large for a result.
  virtual Result<void> complete(const LeaseKey& key, JobResult result = {}) = 0;
  virtual std::vector<Result<void>> complete_many(std::vector<Completion> completions) = 0;
  /// Errors: lease_lost.
  virtual Result<FailOutcome> fail(const LeaseKey& key, const Failure& failure) = 0;
  /// Gives a job back to its place, or, with a delay, to a later time. It costs no attempt, but counts as a crash does.
  /// Errors: lease_lost; invalid_argument for a delay.
  virtual Result<FailOutcome> release(const LeaseKey& key, std::int64_t delay_us = 0) = 0;

  /// Errors: not_found; wrong_state for one that is over.
  virtual Result<CancelOutcome> cancel(const JobId& id) = 0;
  /// Errors: not_found, also for one that is over and no longer kept.
  virtual Result<JobRecord> get(const JobId& id) = 0;
  /// cursor: empty, or from the page before. limit: 1 to 1000. Records are without payloads.
  virtual Result<JobPage> list(const JobFilter& filter, const std::string& cursor = {}, std::uint32_t limit = 100) = 0;
  /// Cancels what waits or is delayed, forgets what is over, removes dead letters. Errors: unsupported for running
  /// ones.
  virtual Result<BulkOutcome> purge(const JobFilter& filter, const std::string& cursor = {}) = 0;
  /// Puts a dead letter back: attempts and crashes begin anew, id and history stay. Depth limits are not asked.
  /// Errors: not_found; wrong_state for a job that is not dead.
  virtual Result<void> requeue(const JobId& id) = 0;
  /// Likewise for those dead letters that fit; filter.state must be dead.
  virtual Result<BulkOutcome> requeue_many(const JobFilter& filter, const std::string& cursor = {}) = 0;

  /// A paused queue accepts jobs and hands none out. In Redis for all workers.
  virtual Result<void> set_paused(bool paused) = 0;
  /// Pauses, and waits until none runs any more; false after the timeout.
  virtual Result<bool> drain(std::int64_t timeout_us) = 0;
  virtual Result<Statistics> statistics() = 0;
  virtual Result<UserStatistics> user_statistics(const std::string& user) = 0;
  /// Events after the one with that sequence, oldest first; waits so long for a first.
  virtual Result<EventPage> events(std::uint64_t after, std::uint32_t limit, std::int64_t timeout_us = 0) = 0;

  /// Does what is due (leases that ran out, delays, deadlines, retention), as every reserve does too, in bounded
  /// portions; true while more is due.
  virtual Result<bool> sweep() = 0;
  /// Other options from now on. What is in stays in. Errors: those of check().
  virtual Result<void> configure(const QueueOptions& options) = 0;
  /// No enqueue or reserve of this object begins any more, and those that wait end. What is taken can still be ended.
  virtual void close() = 0;
};

}  // namespace gf::queue
