// A job as the queue knows it: what it is given, what it is lent out as, and what can be read of it.
#pragma once

#include "base/ids.hpp"
#include "base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gf::queue {

/// Which lane a job waits in. There are no numbers: every job has one of these, and the default is normal.
enum class Priority : std::uint32_t { high = 0, normal = 1, low = 2 };
inline constexpr std::size_t lane_count = 3;

/// Where a job is. Of the jobs that were accepted each is in exactly one of these, or was removed from the dead letters
/// or from the finished ones, which is counted.
enum class JobState : std::uint32_t {
  delayed = 0,  ///< Waits for its time.
  waiting = 1,  ///< Waits in its lane.
  running = 2,  ///< Somebody has it under a lease.
  done = 3,     ///< Over, as the next two.
  cancelled = 4,
  expired = 5,  ///< Its deadline passed while it waited.
  dead = 6,     ///< In the dead letters, from which it can be put back.
};
inline constexpr std::size_t state_count = 7;

constexpr bool is_over(JobState state) { return state >= JobState::done; }
std::string_view name_of(JobState state);
std::string_view name_of(Priority priority);

/// What a host of the in-process queue may hang on a job instead of bytes. The queue never looks into it.
class Attachment {
 public:
  virtual ~Attachment() = default;
};

/// When to run a job again that failed. See retry.hpp for the arithmetic.
struct RetryPolicy {
  std::uint32_t max_attempts = 3;     ///< Runs that may fail; the last of them ends in the dead letters. 1 to 1000.
  std::int64_t base_us = 1'000'000;   ///< Upper bound of the first wait, microseconds; 0 to cap_us.
  std::int64_t cap_us = 300'000'000;  ///< Upper bound of any wait; at most max_delay_us.
};

/// How long an idempotency key is held.
enum class KeyScope : std::uint32_t {
  for_time = 0,        ///< For ttl_us from the enqueue, whatever becomes of the job.
  until_started = 1,   ///< Until the job is first taken, or ends.
  until_finished = 2,  ///< Until the job ends, be it in the dead letters.
};

/// What an enqueue answers whose key is held by another job.
enum class OnDuplicate : std::uint32_t {
  join = 0,    ///< The holder's id, as if it had been this enqueue: what a repeat after a lost answer needs.
  refuse = 1,  ///< already_exists, which names the holder and its state.
};

struct Idempotency {
  std::string key;  ///< Empty: none. At most max_name_bytes.
  KeyScope scope = KeyScope::for_time;
  std::int64_t ttl_us = 86'400'000'000;  ///< For for_time: 1 to max_delay_us. A day.
  OnDuplicate on_duplicate = OnDuplicate::join;
};

/// Bounds that no option lifts. Times beyond 2^52 would not count by ones in a Redis script's doubles.
inline constexpr std::size_t max_name_bytes = 128;
inline constexpr std::size_t max_tags = 16;
inline constexpr std::size_t max_message_bytes = 2048;  ///< Longer messages of failures and progress are cut.
inline constexpr std::size_t max_history = 100;         ///< Attempts kept of a job: the first and the newest.
inline constexpr std::int64_t max_delay_us = std::int64_t{1} << 50;  ///< 35 years.

/// What is put into a queue. Names (user, worker, tags, key, content type) are UTF-8 without control characters and at
/// most max_name_bytes long.
struct NewJob {
  JobId id;  ///< Nil: the queue makes one.
  std::string user;
  Priority priority = Priority::normal;
  std::string payload;  ///< Any bytes, up to the queue's limit.
  std::string content_type;
  std::vector<std::string> tags;  ///< At most max_tags.
  Idempotency idempotency;
  std::int64_t delay_us = 0;  ///< Not before so long from now; 0 to max_delay_us. The queue's clock counts.
  std::optional<std::int64_t> deadline_us;  ///< From now; a job not begun by then ends as expired. 0 or less: at once.
  RetryPolicy retry;
  std::shared_ptr<Attachment> attachment;  ///< In-process queues only; shared with whoever keeps the job's account.
};

/// Answer of an enqueue.
struct Enqueued {
  JobId id;
  bool duplicate = false;              ///< The key was held: `id` is the holder's, and nothing was added.
  JobState state = JobState::waiting;  ///< Of the job with that id.
};

/// What proves that a call comes from the holder of a job. The token rises by one with every take of the job, so that a
/// store behind the queue can refuse a stale worker as well.
struct LeaseKey {
  JobId id;
  std::uint64_t fencing_token = 0;
};

/// A job that is taken: the holder's until the lease expires.
struct Lease {
  LeaseKey key;
  Priority priority = Priority::normal;
  std::string user;
  std::string payload;
  std::string content_type;
  std::vector<std::string> tags;
  std::shared_ptr<Attachment> attachment;
  std::uint32_t attempt = 1;     ///< Failures so far plus one. Crashes and releases do not count here.
  std::int64_t enqueued_us = 0;  ///< By the queue's clock, as the next.
  std::int64_t expires_at_us = 0;
};

struct Progress {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::string note;  ///< Cut to max_message_bytes.
};

/// Small: large results live in the asset store, and are named here.
struct JobResult {
  std::string reference;
  std::string bytes;
};

/// What a failed run comes to.
enum class FailureAction : std::uint32_t {
  by_rules = 0,  ///< As the queue's rules for the status and the job's policy say.
  retry = 1,     ///< Retry, whatever the status, while the policy has attempts left.
  dead_letter = 2,
};

struct Failure {
  Status status = Status::internal;
  std::string message;
  FailureAction action = FailureAction::by_rules;
};

struct FailOutcome {
  JobState state = JobState::dead;  ///< delayed or waiting: it runs again. cancelled: that had been asked.
  std::int64_t retry_in_us = 0;
};

/// Answer of a heartbeat.
struct Heartbeat {
  std::int64_t expires_at_us = 0;
  bool cancel_requested = false;
};

/// How a run of a job ended that did not finish it.
enum class AttemptEnd : std::uint32_t {
  failed = 0,
  crashed = 1,   ///< The lease ran out: the worker died, or could not be reached.
  released = 2,  ///< Given back by its holder.
};

struct Attempt {
  std::uint64_t fencing_token = 0;
  std::int64_t started_us = 0;
  std::int64_t ended_us = 0;
  AttemptEnd end = AttemptEnd::failed;
  Status status = Status::ok;
  std::string worker;
  std::string message;
};

/// What can be read of a job. Times are microseconds since the Unix epoch by the queue's clock; 0 where there is none.
struct JobRecord {
  JobId id;
  JobState state = JobState::waiting;
  Priority priority = Priority::normal;
  std::string user;
  std::string payload;
  std::string content_type;
  std::vector<std::string> tags;
  std::string idempotency_key;
  RetryPolicy retry;
  std::int64_t enqueued_us = 0;
  std::int64_t available_us = 0;  ///< When it came, or will come, into its lane.
  std::int64_t deadline_us = 0;
  std::int64_t started_us = 0;  ///< Of the newest run.
  std::int64_t finished_us = 0;
  std::int64_t lease_expires_us = 0;
  std::uint64_t fencing_token = 0;  ///< Of the newest take: how often it was taken.
  std::uint32_t failures = 0;       ///< Since the enqueue, or since it was put back from the dead letters.
  std::uint32_t crashes = 0;        ///< Likewise; releases count here too, as both are no fault of the job's input.
  bool cancel_requested = false;
  std::string worker;  ///< Of the newest run.
  Progress progress;
  JobResult result;
  std::vector<Attempt> history;
  Status end_status = Status::ok;  ///< Why it is dead.
  std::string end_message;
};

}  // namespace gf::queue
