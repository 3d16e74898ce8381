// Renews leases from a thread of its own, so that a run need not stop for heartbeats, and tells the run when to end.
#pragma once

#include "base/result.hpp"
#include "queue/job.hpp"
#include "queue/queue.hpp"

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace gf::queue {

/// How it stands with a run whose lease is kept.
enum class HoldState : std::uint32_t {
  held = 0,
  cancel_requested = 1,  ///< The lease is the holder's, but the run shall end.
  lost = 2,              ///< The job is somebody else's, or may be by now: end the run, and write nothing any more.
};

/// A lease is renewed a third of its length after the last time. Where that does not succeed, it is tried again, and
/// the lease counts as lost as soon as it may be over: its length after the last renewal that succeeded was *sent*, by
/// this machine's monotonic clock, which is never later than the queue's own end of it. That needs no thread and no
/// server, so a holder learns it on time though both hang.
///
/// The thread begins with the first lease, and sleeps without waking where there is none. Threads: any.
class LeaseKeeper {
 public:
  /// queue: outlives it.
  explicit LeaseKeeper(Queue& queue) : queue_(queue) {}
  /// Waits for a renewal that is under way, which for a queue in Redis is bounded by its client's command timeout. Not
  /// on the keeper's own thread.
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  /// Renews now, and from now on. Again for the same lease: with that length from then on.
  /// Errors: as Queue::extend(), and then nothing is kept; invalid_argument for a length below 3 ms.
  Result<HoldState> hold(const LeaseKey& key, std::int64_t lease_us);

  /// Errors: not_found for a lease that is not kept here.
  /// What it answered lost stays so.
  Result<HoldState> state(const LeaseKey& key);

  /// Renews it no longer; true where it was kept. The lease stays as it is.
  bool let_go(const LeaseKey& key) noexcept;

  /// Whether this is the thread that renews: what the queue has to tell of that is told on it.
  bool is_own_thread() const;

  /// What state() says of a lease that is not kept.
  static Error not_kept(const LeaseKey& key);

 private:
  struct Hold {
    std::int64_t lease_us = 0;
    std::int64_t renew_at_us = 0;  // By the machine's monotonic clock, as the next.
    std::int64_t over_at_us = 0;   // No renewal that succeeded covers more.
    HoldState state = HoldState::held;
  };
  using Name = std::pair<JobId, std::uint64_t>;

  void run();
  void renew(std::unique_lock<std::mutex>& lock, const Name& name);

  Queue& queue_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Name, Hold> holds_;  // All below is guarded by mutex_.
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace gf::queue
