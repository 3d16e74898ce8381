// cache: device memory, from the ledger of what is held over monitor, scopes and recovery to the cache of what is
// loaded; what the bytes compute is none of its business. This header: the ledger, so that a limit is never passed.
#pragma once

#include "base/result.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gf::cache {

/// What bytes are counted as; values of gf_backend_memory_kind.
enum class MemoryKind : std::uint32_t { weights = 0, activations = 1, staging = 2 };
inline constexpr std::uint32_t memory_kinds = 3;
std::string_view name_of(MemoryKind kind);

/// What a job does meanwhile; values of gf_stage.
enum class MemoryStage : std::uint32_t { none = 0, loading = 1, encoding = 2, sampling = 3, decoding = 4 };
inline constexpr std::uint32_t memory_stages = 5;
std::string_view name_of(MemoryStage stage);

inline constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

/// One device's account, bytes.
struct LedgerAccount {
  std::array<std::uint64_t, memory_kinds> committed{};  ///< Held, by kind.
  std::array<std::uint64_t, memory_kinds> reserved{};   ///< Promised, not yet held.
  std::uint64_t total = 0;                              ///< Sum of both.
  std::uint64_t peak = 0;                               ///< The largest total so far.
  std::uint64_t limit = no_limit;                       ///< The least of the following.
  std::uint64_t budget = no_limit;                      ///< What the host set.
  std::uint64_t configured = no_limit;                  ///< The configured fraction of the device.
  std::uint64_t outside = no_limit;                     ///< What is free and what we hold, less the headroom.
  std::uint64_t refusals = 0;                           ///< Promises that a limit refused.
};

/// What one owner, a model most of all, holds of a device.
struct OwnerAccount {
  std::string name;
  std::array<std::uint64_t, memory_kinds> bytes{};  ///< Held and promised, by kind.
  std::uint64_t total = 0;
  std::uint64_t peak = 0;
  /// What each stage took less what it gave back: below 0 where it gave back what another one took.
  std::array<std::int64_t, memory_stages> by_stage{};
  /// The most that each stage held of what it took itself.
  std::array<std::int64_t, memory_stages> stage_peak{};
};

/// Gives back what nobody uses. Held by the ledger for as long as somebody else holds it. Threads: any.
class Reclaimer {
 public:
  virtual ~Reclaimer() = default;
  /// Frees idle memory of the device, at least so many bytes where there are so many; answers how many it were.
  virtual std::uint64_t reclaim(std::uint32_t device, std::uint64_t bytes) noexcept = 0;
  /// How many it could free now.
  virtual std::uint64_t reclaimable(std::uint32_t device) const noexcept = 0;
};

class MemoryScope;

/// The jobs of a process that hold memory of its devices, and those of them that wait for the others' to be given back.
/// They never all wait: the last one that would is told to go on without. Threads: any.
class WorkingJobs {
 public:
  void begun() noexcept;
  void ended() noexcept;
  /// Asks `fits` every few milliseconds until it is true (then so is the answer), every other job waits too, `given_up`
  /// is true, or the time is over. The caller's job has begun.
  bool wait_for(const std::function<bool()>& fits, const std::function<bool()>& given_up, std::int64_t timeout_us);

 private:
  std::mutex mutex_;
  std::uint32_t begun_ = 0;  // Guarded by mutex_, as the next.
  std::uint32_t waiting_ = 0;
};

/// Threads: any. What is counted takes no lock, so that a call of the host never waits for an executor, and the limit
/// holds at every moment: a total only rises by an exchange that compared it with the limit. The sums by kind and owner
/// follow a moment later.
class Ledger {
 public:
  static constexpr std::uint32_t max_devices = 64;
  static constexpr std::uint32_t max_watches = 16;

  /// One name's part of one device. Made once and kept as long as the ledger, since the names of models are few.
  class Owner;

  Ledger() = default;
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  /// What the host allows; 0 takes it away. An unknown device is passed over, as in commit and release. One store: a
  /// host may call it every frame. A budget below what is held stops what is new, and wakes who waits for news();
  /// nothing is taken back here.
  void set_budget(std::uint32_t device, std::uint64_t bytes) noexcept;
  /// What the configuration and the device itself allow; no_limit takes it away.
  void set_configured(std::uint32_t device, std::uint64_t bytes) noexcept;
  void set_outside(std::uint32_t device, std::uint64_t bytes) noexcept;
  std::uint64_t limit(std::uint32_t device) const noexcept;

  /// Promises bytes. Errors: over_budget names what was asked, what is held and the limit, also as the fields
  /// device, needed_bytes, held_bytes, limit_bytes; invalid_argument (no such kind or device). Nothing is promised
  /// then.
  Result<void> reserve(std::uint32_t device, MemoryKind kind, std::uint64_t bytes);
  /// Turns a promise into bytes that are held. More than was promised is counted all the same: it is there.
  void commit(std::uint32_t device, MemoryKind kind, std::uint64_t bytes) noexcept;
  /// Gives back bytes that are held, or gives up a promise.
  void release(std::uint32_t device, MemoryKind kind, std::uint64_t bytes, bool committed) noexcept;

  /// The bytes of the last promise that was refused to the calling thread, 0 when there was none since this was asked
  /// last: the backend's seam carries a status and words, and no numbers.
  static std::uint64_t take_refused() noexcept;

  /// As it is about now: what changes meanwhile may show in one number and not yet in another.
  LedgerAccount account(std::uint32_t device) const noexcept;
  /// Bytes held and promised, and how many of them are past the limit.
  std::uint64_t total(std::uint32_t device) const noexcept;
  std::uint64_t excess(std::uint32_t device) const noexcept;
  /// Bytes that could still be promised, 0 past the limit.
  std::uint64_t room(std::uint32_t device) const noexcept;

  /// The owner of that name, made at its first use. nullptr for an unknown device. Throws bad_alloc.
  Owner* owner(std::uint32_t device, std::string_view name);
  /// Every owner of the device, in no order.
  std::vector<OwnerAccount> owners(std::uint32_t device) const;
  static OwnerAccount account(const Owner& owner);

  /// Follows the device's total from now on: its peak, and a limit on what it may grow by. Nothing when max_watches are
  /// at work. What is reserved at the very moment of the beginning may count in or not.
  std::optional<std::uint32_t> begin_watch(std::uint32_t device, std::uint64_t growth_limit = no_limit) noexcept;
  struct Watched {
    std::uint64_t begun = 0;  ///< The total at the beginning.
    std::uint64_t ended = 0;
    std::uint64_t peak = 0;
  };
  /// Nothing for a watch that was ended, or never begun.
  std::optional<Watched> end_watch(std::uint32_t device, std::uint32_t watch) noexcept;

  /// Adds who is asked to give back. Not held: it leaves by being destroyed.
  void add_reclaimer(const std::shared_ptr<Reclaimer>& reclaimer);
  /// Asks the reclaimers in turn until they gave so many bytes; answers how many.
  std::uint64_t reclaim(std::uint32_t device, std::uint64_t bytes);
  /// What they could give together.
  std::uint64_t reclaimable(std::uint32_t device);

  /// A word that moves whenever a limit has fallen below what is held, or somebody rang.
  std::uint32_t news() const noexcept { return news_.load(); }
  /// Waits until it is no longer `seen`, at most so long; a negative time means for ever.
  void wait_for_news(std::uint32_t seen, std::int64_t timeout_us) const noexcept;
  void ring() noexcept;

  WorkingJobs& jobs() noexcept { return jobs_; }

 private:
  friend class MemoryTag;
  friend class MemoryScope;
  using Bytes = std::atomic<std::uint64_t>;
  struct Watch {
    Bytes begun{0};
    Bytes limit{no_limit};  // Of the total.
    Bytes peak{0};
    std::atomic<std::uint32_t> uses{0};  // Of its place, so that an old number is told from a new one.
  };
  struct Account {
    std::array<Bytes, memory_kinds> committed{};
    std::array<Bytes, memory_kinds> reserved{};
    Bytes total{0};
    Bytes peak{0};
    Bytes budget{no_limit};
    Bytes configured{no_limit};
    Bytes outside{no_limit};
    Bytes refusals{0};
    std::atomic<std::uint32_t> claimed{0};  // A bit a watch: its place is taken,
    std::atomic<std::uint32_t> active{0};   // and it is at work.
    std::array<Watch, max_watches> watches{};
    std::atomic<Owner*> owners{nullptr};
  };

  static std::uint64_t limit_of(const Account& account) noexcept;
  void tell_if_over(const Account& account) noexcept;
  static void rose(Account& account, std::uint64_t total) noexcept;
  void attribute(std::uint32_t device, MemoryKind kind, std::int64_t bytes) noexcept;
  std::vector<std::shared_ptr<Reclaimer>> reclaimers();
  void attribute_promise(std::uint32_t device, MemoryKind kind, std::int64_t bytes) noexcept;

  std::array<Account, max_devices> accounts_;  // By device.
  WorkingJobs jobs_;
  std::atomic<std::uint32_t> news_{0};
  mutable std::atomic<std::uint32_t> waiting_{0};
  std::mutex reclaimers_mutex_;
  std::vector<std::weak_ptr<Reclaimer>> reclaimers_;  // Guarded by reclaimers_mutex_.
};

/// While it lives, what its thread takes and gives back of the owner's device counts as the owner's, in this stage. One
/// inside another hides it. Of a thread, because the backend's seam tells bytes and not whose they are. Threads: the
/// one that made it; what the backend takes on threads of its own has no owner.
class MemoryTag {
 public:
  /// label: says in records what the bytes are; must outlive the tag.
  MemoryTag(Ledger& ledger, std::uint32_t device, Ledger::Owner* owner, MemoryStage stage,
            std::string_view label = {}) noexcept;
  ~MemoryTag();
  MemoryTag(const MemoryTag&) = delete;
  MemoryTag& operator=(const MemoryTag&) = delete;

  std::string_view label() const noexcept { return label_; }

 private:
  friend class Ledger;
  friend class MemoryScope;
  /// What is counted on one thread. Part of the ledger, and as little as can be: three words a thread.
  struct Thread {
    const MemoryTag* tag = nullptr;
    MemoryScope* scope = nullptr;
    std::uint64_t refused = 0;
  };
  static Thread& thread() noexcept;

  Ledger& ledger_;
  const std::uint32_t device_;
  Ledger::Owner* const owner_;
  const MemoryStage stage_;
  const std::string_view label_;
  const MemoryTag* const outer_;
};

/// The ledger of this process's devices: several engines share one device. Lives as long as the process.
std::shared_ptr<Ledger> process_ledger();

}  // namespace gf::cache
