// The queue within one process.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "queue/id_index.hpp"
#include "queue/journal_options.hpp"
#include "queue/names.hpp"
#include "queue/queue.hpp"
#include "queue/slab.hpp"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace gf::queue {

struct JournalKey;
struct JournalRow;

struct MemoryQueueOptions {
  QueueOptions queue;
  /// Lives as long as the queue. Durations are told by its monotonic time, points in time from the Unix time that it
  /// showed when the queue was made, so that a stepping clock moves nothing.
  const Clock* clock = &system_clock();
  LogSink* log = nullptr;  ///< Lives as long as the queue; may be null.
  /// None: jobs live as long as the object. With one they outlive the process: see MemoryQueue.
  std::optional<JournalOptions> journal = std::nullopt;
  std::uint64_t seed = 0;  ///< Of the jitter and of ids that the queue makes; 0: from the system.
};

/// Costs: every operation on one job O(log n) or less; a job that waits takes its texts and about 250 bytes. Jobs live
/// as long as the object. Only enqueue, and reads that return texts, allocate: a job that is in can always be handed
/// out and ended, though without its history when there is no memory for that.
///
/// With a journal whoever opens the file next has the jobs: what waited waits, what was delayed keeps its time (the
/// queue's time goes on from when the file was last written, where the machine's clock shows less), what is over is
/// kept as the options say, and what ran comes back as from a worker that crashed. Attachments are not kept, nor is a
/// pause, nor the turns of the users. A call that accepts, takes or ends jobs answers once the journal has that; it
/// waits for the disk, and others go on meanwhile. Where the journal cannot be written, an enqueue or a reserve fails
/// and has changed nothing (but tokens); any other call has done its work in this process, answers the error all the
/// same, and its change goes with the next that can be written. Errors of the journal: disk_full, io_error,
/// unauthorised, corrupt_file, database_error, out_of_host_memory.
///
/// Waits take real time; a test with a clock of its own asks without a timeout.
///
/// Threads: any. The lock is held for a few operations only, and never while something is waited for.
class MemoryQueue final : public Queue {
 public:
  /// Errors: those of check(); with a journal those of Journal::open(), and corrupt_file where what it says is no
  /// queue.
  static Result<std::unique_ptr<MemoryQueue>> create(MemoryQueueOptions options = {});
  /// Writes into the journal what it does not have yet. Nobody is inside a call.
  ~MemoryQueue() override;
  MemoryQueue(const MemoryQueue&) = delete;
  MemoryQueue& operator=(const MemoryQueue&) = delete;

  Result<Enqueued> enqueue(NewJob job, std::int64_t timeout_us = 0) override;
  std::vector<Result<Enqueued>> enqueue_many(std::vector<NewJob> jobs) override;
  Result<std::vector<Lease>> reserve(const ReserveRequest& request) override;
  /// As reserve() for one job; nullopt where that gives none. Allocates nothing for a job with an attachment alone.
  Result<std::optional<Lease>> reserve_one(const ReserveRequest& request);
  Result<Heartbeat> extend(const LeaseKey& key, std::int64_t lease_us = 0) override;
  Result<void> report_progress(const LeaseKey& key, const Progress& progress) override;
  Result<void> complete(const LeaseKey& key, JobResult result = {}) override;
  std::vector<Result<void>> complete_many(std::vector<Completion> completions) override;
  Result<FailOutcome> fail(const LeaseKey& key, const Failure& failure) override;
  Result<FailOutcome> release(const LeaseKey& key, std::int64_t delay_us = 0) override;
  Result<CancelOutcome> cancel(const JobId& id) override;
  Result<JobRecord> get(const JobId& id) override;
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
  bool is_closed() const;

  /// Cancels a job that waits or is delayed, and returns what hung on it; nullopt when none waits under that id.
  std::optional<std::shared_ptr<Attachment>> remove(const JobId& id);
  /// Likewise for any one job, of a queue that is closed; nullopt when none is left.
  std::optional<std::shared_ptr<Attachment>> remove_any();

 private:
  static constexpr std::uint32_t none = 0xFFFF'FFFF;
  struct Cold;
  struct Node;
  struct HeldKey;
  struct Texts;
  struct Journaling;

  explicit MemoryQueue(MemoryQueueOptions options);

  std::int64_t now_us() const { return clock_.now_us() + offset_us_; }
  std::uint64_t random();
  auto id_of() const;
  auto timer_place();
  auto deadline_place();

  /// Takes over what the journal has, before anybody else knows of this object.
  Result<void> restore(const JournalOptions& options);
  Result<std::uint32_t> restore_job(JournalRow& row);
  Result<void> restore_key(const JournalKey& key);

  /// A portion of a call on many; takes the lock. apply(slot, now) for each job that fits.
  template <class Apply>
  Result<BulkOutcome> bulk(const JobFilter& filter, const std::string& cursor, Apply&& apply);

  // All of the following with the lock held.
  Result<Enqueued> admit(NewJob& job, std::unique_ptr<char[]>& blob, std::uint32_t blob_bytes, std::int64_t now);
  Result<void> make_room(const NewJob& job, std::int64_t now);
  std::optional<Error> lack_of_room(const NewJob& job, bool* queue_wide) const;
  /// Its job, or its key's holder, is on its way into the journal: nobody knows yet whether it is accepted.
  bool meets_an_arrival(const NewJob& job) const;
  void announce(std::uint32_t slot, std::uint32_t key, bool late);
  void welcome(std::uint32_t slot, std::int64_t now);
  void turn_away(std::uint32_t slot, std::int64_t now);
  std::uint32_t slot_of(const JobId& id) const;
  std::uint32_t hold_user(const std::string& name);
  /// Notes what the journal does not have yet.
  void mark(std::uint32_t slot, std::uint8_t changes);
  /// With a journal: waits until it has all that was noted before; lets go of the lock meanwhile.
  Result<void> settle(std::unique_lock<std::mutex>& lock, bool arrives);
  /// The same, where there is one, for what has happened already, whatever the journal says.
  Result<void> settled(std::unique_lock<std::mutex>& lock);
  Result<void> settle_done(std::unique_lock<std::mutex>& lock);
  void commit(std::unique_lock<std::mutex>& lock);
  Result<void> write_now(std::unique_lock<std::mutex>& lock);
  void collect();
  void count_waiting(const Node& node, bool in);
  std::uint32_t make_node();
  void free_node(std::uint32_t slot);
  void make_available(std::uint32_t slot, std::int64_t now, bool fresh);
  void enter_lane(std::uint32_t slot);
  void make_delayed(std::uint32_t slot, std::int64_t until_us);
  void enter_delay(std::uint32_t slot);
  void arm_deadline(std::uint32_t slot);
  void disarm(std::uint32_t slot);
  std::uint32_t take(std::int64_t now, std::int64_t lease_us, std::uint32_t worker);
  Lease lease_of(std::uint32_t slot, std::int64_t expires_us) const;
  Result<std::uint32_t> held(const LeaseKey& key);
  void end_run(std::uint32_t slot);
  void end(std::uint32_t slot, JobState state, std::int64_t now);
  void kill(std::uint32_t slot, Status status, std::string_view message, std::int64_t now) noexcept;
  /// After a crash or a release: back to the lane, or to its end.
  JobState put_back(std::uint32_t slot, std::int64_t delay_us, std::int64_t now);
  JobState count_crash(std::uint32_t slot, std::int64_t delay_us, std::int64_t now);
  void note_attempt(std::uint32_t slot, AttemptEnd how, Status status, std::string_view message,
                    std::int64_t now) noexcept;
  Cold* cold_of(Node& node) noexcept;
  bool sweep_some(std::int64_t now, std::uint32_t budget);
  std::optional<std::int64_t> next_due_us() const;
  void remove_dead(std::uint32_t slot, std::int64_t now, bool expired) noexcept;
  void revive(std::uint32_t slot, std::int64_t now);
  void trim(std::int64_t now);
  void let_key_go(const Node& node, bool only_started);
  void drop_key(std::uint32_t slot);
  void let_user_go(std::uint32_t user, std::int64_t now);
  void emit(EventType type, const Node& node, Status status, std::int64_t now);
  JobRecord record_of(std::uint32_t slot, bool with_payload) const;
  bool fits(const Node& node, const JobFilter& filter, std::int64_t now) const;
  template <class Visit>
  std::string walk(std::uint32_t slot, std::uint32_t places, const JobFilter& filter, std::int64_t now, Visit&& visit);
  std::string_view key_of(const Node& node) const;
  void link(std::uint32_t slot, std::uint32_t& first, std::uint32_t& last);
  void unlink(std::uint32_t slot, std::uint32_t& first, std::uint32_t& last);
  void wake_one();
  /// Waits on `changed`, until `until_us` of our time at the latest.
  void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed, std::optional<std::int64_t> until_us);
  template <class Got>
  Result<void> reserve_with(const ReserveRequest& request, Got&& got);
  void untake(const LeaseKey& key, std::int64_t now);
  std::optional<std::shared_ptr<Attachment>> take_out(std::uint32_t slot);

  const Clock& clock_;
  LogSink* const log_;
  std::int64_t offset_us_;  // Set before anybody else knows of this object.
  JobIdMaker ids_;          // Any thread.

  mutable std::mutex mutex_;
  std::condition_variable work_changed_;
  std::condition_variable room_changed_;
  std::condition_variable idle_changed_;
  std::condition_variable events_changed_;
  // Guarded by mutex_, all of the following.
  QueueOptions options_;
  std::uint64_t random_state_;
  std::unique_ptr<Journaling> journaling_;  // Null without a journal. Beside what every call reads.
  Slab<Node> nodes_;
  std::uint32_t node_count_ = 0;  // One past the largest slot that was ever used.
  std::uint32_t first_free_ = none;
  std::uint32_t live_ = 0;
  std::uint32_t with_deadline_ = 0;
  IdIndex index_;
  Lanes lanes_;
  IndexHeap<std::int64_t> timers_;     // Delayed jobs by their time, running ones by the end of their lease.
  IndexHeap<std::int64_t> deadlines_;  // Of jobs that wait or are delayed.
  Names users_;
  Names workers_;
  struct Rest {
    std::uint32_t at = none;
  };
  Slab<Rest> resting_at_;            // By user: place in the heap of the next.
  IndexHeap<std::int64_t> resting_;  // Users without jobs, until their start rate owes them nothing.
  std::uint64_t sequence_ = 0;
  std::array<std::uint64_t, lane_count> lane_jobs_{};  // Waiting and delayed.
  std::array<std::uint64_t, lane_count> lane_bytes_{};
  std::array<std::uint64_t, lane_count> waiting_bytes_{};  // Of what waits, without the delayed.
  std::uint64_t delayed_ = 0;
  std::uint64_t running_ = 0;
  std::uint32_t first_finished_ = none;  // Oldest first, as the next.
  std::uint32_t last_finished_ = none;
  std::uint64_t finished_ = 0;
  std::uint32_t first_dead_ = none;
  std::uint32_t last_dead_ = none;
  std::uint64_t dead_ = 0;
  std::uint64_t dead_bytes_ = 0;
  Names keys_;
  Slab<HeldKey> held_keys_;  // By the key's number.
  IndexHeap<std::int64_t> key_expiry_;
  std::vector<QueueEvent> ring_;
  std::uint64_t last_event_ = 0;
  std::uint64_t oldest_event_ = 1;  // Of those that the ring has.
  QueueTotals totals_;
  Histogram wait_;
  Histogram run_;
  bool paused_ = false;
  bool closed_ = false;
  std::uint32_t sleepers_ = 0;
  std::uint32_t blocked_ = 0;
  std::uint32_t drainers_ = 0;
  std::uint32_t watchers_ = 0;
};

}  // namespace gf::queue
