// queue: carries jobs from admission to acknowledgement; what a job computes is none of its business.
// This header: a job's place in the queue, and the queue within one process.
#pragma once

#include "base/ids.hpp"
#include "base/result.hpp"

#include <array>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

namespace gf::queue {

/// Which lane a job waits in. A lane is served only while those above it are empty.
enum class Priority : std::uint32_t { high = 0, normal = 1, low = 2 };
inline constexpr std::size_t lanes = 3;

/// What the queue carries without looking into it; whoever pushed it knows what it is.
class Payload {
 public:
  virtual ~Payload() = default;
};

/// A job that waits. The payload is shared with whoever keeps the job's account.
struct Entry {
  JobId id;
  Priority priority = Priority::normal;
  std::shared_ptr<Payload> payload;
};

/// A job that is taken: it is the holder's until it expires, and its token is larger than that of every lease before,
/// so that what a slow holder writes after losing it can be told apart.
struct Lease {
  Entry entry;
  std::uint64_t fencing_token = 0;
  std::int64_t expires_at_us = 0;
  std::uint32_t attempt = 1;  ///< How often the job was taken, this time included.
};

/// Where the jobs are.
struct QueueCounts {
  std::array<std::uint64_t, lanes> waiting{};
  std::uint64_t leased = 0;
};

/// A bounded queue in memory. First in, first out within a lane. Time comes from the caller, but for the wait in
/// reserve. Threads: any. Its lock is held for a few operations on a list only.
class MemoryQueue {
 public:
  explicit MemoryQueue(std::uint64_t limit) : limit_(limit) {}

  /// Errors: queue_full names the limit; shutting_down; already_exists. Nothing has changed then. Throws bad_alloc.
  Result<void> push(Entry entry);

  /// Takes the next job under a lease of `lease_us` from the time that `now_us` tells when there is one.
  /// timeout_us: at most so long; nullopt: until there is one or the queue is closed.
  /// nullopt: the time was over, or the queue is closed; is_closed tells.
  template <class NowUs>
  std::optional<Lease> reserve(std::optional<std::int64_t> timeout_us, std::int64_t lease_us, NowUs&& now_us) {
    std::unique_lock lock(mutex_);
    if (!wait_for_job(lock, timeout_us)) return std::nullopt;
    return take(now_us() + lease_us);
  }

  /// Prolongs a lease. Errors: lease_lost.
  Result<void> extend(const Lease& lease, std::int64_t expires_at_us);
  /// The job is over, whatever came of it. Errors: lease_lost when somebody else has it by now.
  Result<void> complete(const Lease& lease);
  /// Gives the job back to the front of its lane. Errors: lease_lost.
  Result<void> abandon(const Lease& lease);

  /// Takes a job that waits out of the queue; nullopt when it does not wait here.
  std::optional<Entry> remove(const JobId& id);

  /// Puts jobs whose lease is over back to the front of their lanes, and tells how many there were.
  std::uint64_t requeue_expired(std::int64_t now_us);

  /// Refuses what is pushed from now on, and wakes all who wait: nothing is handed out any more. Leases go on.
  void close();
  /// Takes one job out that waits in a closed queue; nullopt when none is left.
  std::optional<Entry> drain();
  bool is_closed() const;

  QueueCounts counts() const;

 private:
  struct Job {
    Entry entry;
    std::uint32_t attempts = 0;
    std::uint64_t fencing_token = 0;  // 0: it waits.
    std::int64_t expires_at_us = 0;
  };
  using Place = std::list<Job>::iterator;
  struct IdHash {
    std::size_t operator()(const JobId& id) const { return static_cast<std::size_t>(id.low ^ id.high); }
  };

  bool wait_for_job(std::unique_lock<std::mutex>& lock, std::optional<std::int64_t> timeout_us);
  Lease take(std::int64_t expires_at_us);
  Result<Place> held(const Lease& lease);
  void put_back(Place job);
  std::list<Job>& lane_of(const Job& job) { return lanes_[static_cast<std::size_t>(job.entry.priority)]; }
  std::uint64_t waiting() const;

  const std::uint64_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_, all of the following. A job moves between lists without being copied, so that only push can run
  // out of memory.
  std::array<std::list<Job>, lanes> lanes_;
  std::list<Job> taken_;
  std::unordered_map<JobId, Place, IdHash> places_;
  std::uint64_t last_token_ = 0;
  bool closed_ = false;
};

}  // namespace gf::queue
