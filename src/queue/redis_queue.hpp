// The queue in Redis, which many workers on many machines share.
#pragma once

#include "base/log.hpp"
#include "queue/queue.hpp"
#include "queue/redis_scripts.hpp"
#include "redis/client.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace gf::queue {

struct RedisQueueOptions {
  std::string url;                       ///< See redis::Url.
  std::string name_space = "gameforge";  ///< With the queue's name the hash tag of all keys. No braces in either.
  std::string name = "default";
  QueueOptions queue;
  redis::ClientOptions client;
  LogSink* log = nullptr;  ///< Lives as long as the queue; may be null.
  /// A server that may evict keys, or that keeps nothing on disk, is an error and not a warning.
  bool strict = false;
  std::string test_clock;  ///< See redis_script(). For tests alone.
};

/// Every transition is one script, which is carried out whole or not at all, and costs O(log n) a job. All time is the
/// server's. Limits are those of this object's options, and judged anew by every call: whoever shares a queue should
/// give the same.
///
/// An idle reserve() sleeps in the server, on a list that says that there is something to see; it looks by itself at
/// least every 15 s, as the list is a hint and no promise. Whoever takes a job does what is due for all (leases that
/// ran out, delays, deadlines), so that no worker is needed more than another.
///
/// A call whose answer was lost is repeated where the server can tell that it was carried out; otherwise it fails with
/// network_error, and the jobs of a reserve() come back when their lease runs out. What a crash of the server loses is
/// a matter of its persistence: create() writes a warning where that is not appendfsync always.
///
/// Threads: any. A call waits for the server, at most ClientOptions::command_timeout_us beyond its own timeout.
class RedisQueue final : public Queue {
 public:
  /// Errors: those of check(), Url::parse and Client; unsupported for a server before 6.2, or with `strict`;
  /// schema_too_new; wrong_state where the keys are no queue's.
  static Result<std::unique_ptr<RedisQueue>> create(RedisQueueOptions options);
  ~RedisQueue() override;

  Result<Enqueued> enqueue(NewJob job, std::int64_t timeout_us = 0) override;
  std::vector<Result<Enqueued>> enqueue_many(std::vector<NewJob> jobs) override;
  Result<std::vector<Lease>> reserve(const ReserveRequest& request) override;
  Result<Heartbeat> extend(const LeaseKey& key, std::int64_t lease_us = 0) override;
  Result<void> report_progress(const LeaseKey& key, const Progress& progress) override;
  Result<void> complete(const LeaseKey& key, JobResult result = {}) override;
  std::vector<Result<void>> complete_many(std::vector<Completion> completions) override;
  Result<FailOutcome> fail(const LeaseKey& key, const Failure& failure) override;
  Result<FailOutcome> release(const LeaseKey& key, std::int64_t delay_us = 0) override;
  Result<CancelOutcome> cancel(const JobId& id) override;
  Result<JobRecord> get(const JobId& id) override;
  /// cursor: a page may hold fewer than `limit` jobs, and more may follow: only an empty cursor is the end.
  Result<JobPage> list(const JobFilter& filter, const std::string& cursor = {}, std::uint32_t limit = 100) override;
  Result<BulkOutcome> purge(const JobFilter& filter, const std::string& cursor = {}) override;
  Result<void> requeue(const JobId& id) override;
  Result<BulkOutcome> requeue_many(const JobFilter& filter, const std::string& cursor = {}) override;
  Result<void> set_paused(bool paused) override;
  Result<bool> drain(std::int64_t timeout_us) override;
  Result<Statistics> statistics() override;
  Result<UserStatistics> user_statistics(const std::string& user) override;
  Result<EventPage> events(std::uint64_t after, std::uint32_t limit, std::int64_t timeout_us = 0) override;
  Result<bool> sweep() override;
  Result<void> configure(const QueueOptions& options) override;
  void close() override;

  /// Since when no take was answered, microseconds: what a health check should look at. 0 before the first.
  std::int64_t since_last_take_us() const;
  const std::array<std::string, redis_key_count>& keys() const { return keys_; }

 private:
  /// Options and the scripts made of them, which calls share while they run, also past a configure().
  struct Setup;

  RedisQueue(RedisQueueOptions options, std::unique_ptr<redis::Client> client, std::unique_ptr<redis::Client> waiting);

  std::shared_ptr<Setup> setup() const;
  Result<redis::Reply> run(Setup& setup, RedisScript script, std::vector<std::string> arguments, redis::Repeat repeat);
  /// For scripts that do not sweep by themselves, and say so instead where something is due.
  Result<redis::Reply> run_after_sweep(Setup& setup, RedisScript script, std::vector<std::string> arguments);
  // Each with one script for the jobs or completions at `places`. A plain one leaves in `places` what is to be done
  // fully: it did nothing with that.
  void enqueue_plain(Setup& of, std::vector<NewJob>& jobs, const std::vector<std::string>& nonces,
                     std::vector<std::size_t>& places, std::vector<Result<Enqueued>>& answers);
  void enqueue_fully(Setup& of, std::vector<NewJob>& jobs, const std::vector<std::string>& nonces,
                     const std::vector<std::size_t>& places, std::vector<Result<Enqueued>>& answers);
  void complete_plain(Setup& of, const std::vector<Completion>& completions, const std::vector<std::string>& nonces,
                      std::vector<std::size_t>& places, std::vector<Result<void>>& answers);
  void complete_fully(Setup& of, std::vector<Completion>& completions, const std::vector<std::string>& nonces,
                      const std::vector<std::size_t>& places, std::vector<Result<void>>& answers);
  /// Looks at the server, and makes the scripts for it.
  Result<void> check_server();
  std::string nonce() const;
  /// Says so in the log as well: whoever loses a lease has worked in vain.
  Error lost(const LeaseKey& key) const;
  void log_expired(const redis::Reply& letters) const;

  const RedisQueueOptions options_;
  const std::array<std::string, redis_key_count> keys_;
  const std::unique_ptr<redis::Client> client_;
  const std::unique_ptr<redis::Client> waiting_;  // For what blocks: closed first, so that what is taken can be ended.
  JobIdMaker ids_;                                // Any thread.
  bool has_flags_ = false;                        // Set by create(), fixed from then on.
  std::atomic<bool> closed_{false};
  std::atomic<std::int64_t> last_take_us_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<Setup> setup_;  // Guarded by mutex_.
};

}  // namespace gf::queue
