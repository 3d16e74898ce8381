// Lanes: which of the waiting jobs is next. Three priorities without starvation, fair among users, at O(log n).
#pragma once

#include "queue/index_heap.hpp"
#include "queue/job.hpp"
#include "queue/slab.hpp"
#include "queue/token_bucket.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace gf::queue {

enum class LaneOrder : std::uint32_t {
  strict = 0,    ///< A lane is served while those above it are empty, but for jobs that waited too long.
  weighted = 1,  ///< Lanes take turns in the proportion of their weights.
};

struct LaneRules {
  LaneOrder order = LaneOrder::strict;
  /// strict: a job that waited longer than this is taken before those of the lanes above. 0: never. At most every
  /// second take goes to such a job while a lane above waits, so that a backlog of old jobs does not turn the order
  /// round.
  std::int64_t normal_max_wait_us = 20'000'000;
  std::int64_t low_max_wait_us = 60'000'000;
  /// weighted: of high, normal, low; 1 to 1000.
  std::array<std::uint32_t, lane_count> weights{6, 3, 1};
  /// Jobs of one user that may run at the same time; 0: any number.
  std::uint32_t user_running_limit = 0;
  /// Starts of one user's jobs; none: at any rate. Who is over it keeps its place, and others go on.
  std::optional<TokenBucketLimits> user_start_rate;
};

/// Orders jobs, which are slots of the owner's, by lane and user: within a lane users take turns, and within a user the
/// first come is first served. A user whose turn it may not be (too many running, or too fast) is parked: out of the
/// turns until a job of theirs ends, or their time has come, with all jobs in place.
///
/// A turn is a place in a ring; a user that comes, or comes back from being parked, is put behind all others. The Redis
/// scripts keep the same order.
///
/// Threads: not synchronised; its owner guards it. Calls but reserve() and user() do not allocate.
class Lanes {
 public:
  static constexpr std::uint32_t none = 0xFFFF'FFFF;

  /// rules: have been checked.
  void set_rules(const LaneRules& rules, std::int64_t now_us);
  const LaneRules& rules() const { return rules_; }

  /// Room for slots 0 to count - 1. Throws bad_alloc, and has changed nothing that matters then.
  void reserve(std::uint32_t count);
  /// Room for users 0 to count - 1. Likewise.
  void reserve_users(std::uint32_t count);

  /// Puts a slot behind all others of its user and lane, or, with the sequence that it had, back to where it was.
  /// sequence: rises with every push of a job that is new, and stays a job's own when it is put back.
  /// since_us: when it began to wait.
  void push(std::uint32_t slot, Priority lane, std::uint32_t user, std::uint64_t sequence, std::int64_t since_us);
  /// Takes a waiting slot out.
  void remove(std::uint32_t slot);
  bool contains(std::uint32_t slot) const { return slot < places_.size() && places_[slot].user != none; }

  /// Takes the next slot out, charges its user's rate and counts it as running; `none` when nothing may be taken now.
  std::uint32_t take(std::int64_t now_us);
  /// Whether a call of take(now_us) would find one, without charging anybody. Unparks whose time has come.
  bool any(std::int64_t now_us);
  /// The user's first job in the lane, and a hint to the processor that the one behind it is wanted soon; `none` when
  /// none waits.
  std::uint32_t first_of(std::uint32_t user, Priority lane) const {
    const auto first = users_[user].lanes[static_cast<std::size_t>(lane)].first;
    if (first != none && places_[first].next != none) __builtin_prefetch(&places_[places_[first].next]);
    return first;
  }
  /// A job of the user, which was taken, no longer runs.
  void ended(std::uint32_t user);

  /// When a parked user's time comes; nullopt when none waits for time.
  std::optional<std::int64_t> next_unpark_us() const;
  /// Since when the oldest job of the lane waits whose user is not parked; nullopt without one.
  std::optional<std::int64_t> oldest_us(Priority lane) const;
  /// The slot that waits longest in the lane, parked or not; `none` in an empty one.
  std::uint32_t oldest_slot(Priority lane) const;

  std::uint64_t waiting(Priority lane) const { return counts_[static_cast<std::size_t>(lane)]; }
  std::uint32_t running_of(std::uint32_t user) const { return users_[user].running; }
  std::uint64_t waiting_of(std::uint32_t user) const;
  /// Whether nothing is known of the user but that it is: no job, no debt of its rate at `now_us`.
  bool is_idle(std::uint32_t user, std::int64_t now_us) const;
  /// When the user's start rate owes nothing any more.
  std::int64_t full_at_us(std::uint32_t user) const { return users_[user].full_at_us; }
  /// Makes the user as one that never was.
  void forget(std::uint32_t user);

 private:
  struct Place {
    std::uint64_t sequence = 0;
    std::int64_t since_us = 0;
    std::uint32_t previous = none;  // In the list of the user's lane.
    std::uint32_t next = none;
    std::uint32_t returned_at = none;  // Or in its heap of returned jobs.
    std::uint32_t user = none;         // none: does not wait.
    std::uint8_t lane = 0;
  };
  struct UserLane {
    std::uint32_t first = none;  // Jobs in the order of their sequence, which only rises here.
    std::uint32_t last = none;
    IndexHeap<std::uint64_t> returned;  // By sequence: jobs that came back, so that no list has to be walked.
    std::uint32_t ring_previous = none;
    std::uint32_t ring_next = none;
    std::uint32_t age_at = none;  // In the lane's heap of ages, or of parked ones; none: no job waits.
    std::uint64_t count = 0;
  };
  struct User {
    std::array<UserLane, lane_count> lanes;
    std::uint32_t running = 0;
    std::uint32_t parked_at = none;  // In the heap of who waits for time.
    bool parked = false;
    std::int64_t full_at_us = 0;  // State of the start rate.
  };
  struct Ring {
    std::uint32_t first = none;
    std::uint32_t last = none;
    IndexHeap<std::int64_t> ages;    // Of users in the ring, by the time since when their first job waits.
    IndexHeap<std::int64_t> parked;  // Of parked users, likewise.
  };

  std::uint32_t head_of(const UserLane& lane) const;
  void unlink(UserLane& lane, std::uint32_t slot);
  void enter(std::uint32_t user, std::size_t lane);
  void leave(std::uint32_t user, std::size_t lane);
  IndexHeap<std::int64_t>& ages_of(std::uint32_t user, std::size_t lane) {
    return users_[user].parked ? rings_[lane].parked : rings_[lane].ages;
  }
  void age(std::uint32_t user, std::size_t lane);
  void set_parked(std::uint32_t user, bool parked);
  void park(std::uint32_t user);
  void unpark(std::uint32_t user);
  void unpark_due(std::int64_t now_us);
  bool over_running_limit(const User& user) const {
    return rules_.user_running_limit != 0 && user.running >= rules_.user_running_limit;
  }
  /// A lane that has somebody to serve, and whether it is served because of its age; lane_count when there is none.
  std::pair<std::size_t, bool> choose(std::int64_t now_us);

  LaneRules rules_;
  std::optional<TokenRate> rate_;
  Slab<Place> places_;
  Slab<User> users_;
  std::array<Ring, lane_count> rings_;
  std::array<std::uint64_t, lane_count> counts_{};
  std::array<std::int64_t, lane_count> credits_{};  // Of the weighted order.
  IndexHeap<std::int64_t> parked_until_;
  bool last_was_aged_ = false;
};

}  // namespace gf::queue
