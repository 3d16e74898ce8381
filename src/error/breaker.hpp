// Circuit breaker: stops calling a service that fails, and finds out by itself when it is well again.
#pragma once

#include "base/result.hpp"
#include "error/thread_slot.hpp"
#include "error/verdict.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace gf::error {

enum class BreakerState : std::uint32_t {
  closed = 0,
  open = 1,
  half_open = 2,      ///< A few calls are let through to probe.
  forced_open = 3,    ///< By an operator, until told otherwise.
  forced_closed = 4,  ///< Lets everything through and counts, but never trips.
  disabled = 5        ///< Lets everything through and counts nothing.
};

/// Why a breaker changed its state.
enum class BreakerReason : std::uint32_t {
  failure_rate = 0,
  slow_rate = 1,
  failures_in_a_row = 2,
  open_time_over = 3,
  probes_succeeded = 4,
  probes_failed = 5,
  forced = 6,
  shared = 7  ///< Another process saw it first.
};

std::string_view name_of(BreakerState state);
std::string_view name_of(BreakerReason reason);

struct BreakerEvent {
  BreakerState from = BreakerState::closed;
  BreakerState to = BreakerState::closed;
  BreakerReason reason = BreakerReason::forced;
  std::uint32_t generation = 0;  ///< Of the new state.
  std::int64_t at_us = 0;
  std::int64_t open_until_us = 0;  ///< 0 unless open.
};

/// The defaults suit services that see tens of calls an hour: five failures in a row trip at any rate.
struct BreakerOptions {
  enum class Window : std::uint32_t {
    time = 0,  ///< The last window_us, in tenths; sharded, for calls by the million.
    count = 1  ///< The last window_calls outcomes exactly; all threads share one counter.
  };
  Window window = Window::time;
  std::int64_t window_us = 600'000'000;  ///< 10 ms to 7 days.
  std::uint32_t window_calls = 100;      ///< 1 to 1000.
  std::uint32_t minimum_calls = 10;      ///< Outcomes in the window before a rate means anything; at least 1.
  double failure_rate = 0.5;             ///< Trips at this share of failures; above 0, at most 1.
  std::uint32_t failures_in_a_row = 5;   ///< Trips at so many, whatever the window holds; 0: never.
  std::int64_t slow_call_us = 0;         ///< A call of at least so long is slow: 1 ms to 7 days; 0: none is.
  double slow_rate = 0.8;             ///< Trips at this share of slow calls, those under way included; as failure_rate.
  std::int64_t open_us = 30'000'000;  ///< 1 ms to 7 days.
  std::int64_t max_open_us = 600'000'000;  ///< Bounds what an error may ask for by retry_after_us; open_us to 7 days.
  /// The open time is drawn from open_us to open_us * (1 + jitter), so that many breakers do not probe in step. 0 to 1.
  double jitter = 0.25;
  std::uint32_t probes = 3;                  ///< Calls that half-open lets through; 1 to 16.
  std::uint32_t probes_to_close = 2;         ///< Successes among them that close it; 1 to probes.
  std::int64_t probe_lease_us = 60'000'000;  ///< A probe that says nothing for so long has failed; 1 ms to 7 days.
  std::uint64_t jitter_seed = 1;
  VerdictRules verdicts;
  /// Called by the thread that made the change, under no lock; several may run at a time. What it throws is swallowed.
  std::function<void(const BreakerEvent&)> listener;
};

/// Counts since the breaker was made, and what the window holds.
struct BreakerReport {
  BreakerState state = BreakerState::closed;
  std::uint32_t generation = 0;
  std::int64_t open_for_us = 0;  ///< How long it stays open; 0 unless open.
  std::uint64_t window_calls = 0;
  std::uint64_t window_failures = 0;
  std::uint64_t window_slow = 0;
  std::uint64_t slow_under_way = 0;
  std::uint32_t failures_in_a_row = 0;
  /// What is missing to trip, of each: 0 where the next outcome decides or the rule is off.
  std::uint64_t calls_missing = 0;
  std::uint32_t row_missing = 0;
  std::uint64_t successes = 0;
  std::uint64_t failures = 0;
  std::uint64_t not_counted = 0;
  std::uint64_t late = 0;  ///< Outcomes of calls that began before the state changed: they move nothing.
  std::uint64_t refused = 0;
  std::uint64_t trips = 0;
};

/// Who shares a breaker with other processes (shared_breakers.hpp). Called by the threads that make calls, under no
/// lock of the breaker: it must not wait.
class BreakerPeer {
 public:
  virtual ~BreakerPeer() = default;
  /// A change that this process made by itself.
  virtual void changed(const BreakerEvent& event) noexcept = 0;
  /// A call found the open time over and was refused, since no probe is granted to this process.
  virtual void probe_wanted() noexcept = 0;
  /// How a granted probe ended; not_counted: its place is free again.
  virtual void probe_ended(std::uint32_t grant, Verdict verdict) noexcept = 0;
};

/// The state machine of Nygard's "Release It!" (2007, chapter 5) in resilience4j's words, with the faults of the field
/// designed out: an outcome counts only in the generation in which its call began, a probe is a lease that ends by
/// itself, and there is no timer (what the state is follows from stored times and now).
///
/// State, generation and the open time or the probes' counts are one 64-bit word, changed by compare-and-swap. Window
/// counts are sharded by thread. Rates are judged when a failure or a slow call is reported: a success never trips.
/// Nothing is held while the protected call runs.
///
/// Time: the caller passes microseconds from any clock whose zero lies in the past, below 2^41 ms (69 years); open time
/// and leases are kept in whole milliseconds, rounded up. A clock that steps back prolongs an open time by its step.
///
/// Threads: any, for every function. It must outlive its permits.
class CircuitBreaker {
 public:
  /// What allow() gave, as plain numbers: for handles and for calls that end elsewhere.
  struct Token {
    std::uint32_t generation = 0;
    std::uint32_t probe = no_probe;
    std::uint64_t lease = 0;
    std::int64_t begun_us = 0;
  };

  /// Leave for one call, or a refusal. Report its end once; a permit that is destroyed unreported is not counted, and a
  /// probe's place is free at once.
  class Permit {
   public:
    Permit(Permit&& other) noexcept : breaker_(other.breaker_), token_(other.token_) { other.breaker_ = nullptr; }
    Permit& operator=(Permit&& other) noexcept;
    Permit(const Permit&) = delete;
    Permit& operator=(const Permit&) = delete;
    ~Permit() {
      if (breaker_ != nullptr) breaker_->report(token_, Verdict::not_counted, token_.begun_us);
    }

    explicit operator bool() const { return breaker_ != nullptr; }
    /// Of a refusal: the shortest wait after which a call may be let through.
    std::int64_t retry_after_us() const { return breaker_ == nullptr ? token_.begun_us : 0; }

    void success(std::int64_t now_us) { report(Verdict::success, now_us, 0); }
    /// retry_after_us: what the service asked for; 0: nothing.
    void failure(std::int64_t now_us, std::int64_t retry_after_us = 0) {
      report(Verdict::failure, now_us, retry_after_us);
    }
    void not_counted(std::int64_t now_us) { report(Verdict::not_counted, now_us, 0); }
    /// By verdict_of and the breaker's rules.
    void failed(const Error& error, std::int64_t now_us) {
      if (breaker_ != nullptr) report(verdict_of(error, breaker_->options_.verdicts), now_us, error.retry_after_us);
    }
    /// Lets go without a report. Whoever keeps the token reports; a probe's lease ends by itself.
    Token detach() {
      breaker_ = nullptr;
      return token_;
    }

   private:
    friend class CircuitBreaker;
    Permit(CircuitBreaker* breaker, const Token& token) : breaker_(breaker), token_(token) {}
    void report(Verdict verdict, std::int64_t now_us, std::int64_t retry_after_us) {
      if (auto* breaker = breaker_; breaker != nullptr) {
        breaker_ = nullptr;
        breaker->report(token_, verdict, now_us, retry_after_us);
      }
    }

    CircuitBreaker* breaker_;
    Token token_;
  };

  static constexpr std::uint32_t no_probe = 0xFFFFFFFF;
  static constexpr std::uint32_t max_probes = 16;
  static constexpr std::uint32_t max_window_calls = 1000;
  static constexpr std::uint32_t max_grant = (1u << 23) - 1;

  /// Errors: invalid_argument names the option that is out of its range.
  static Result<std::shared_ptr<CircuitBreaker>> create(const BreakerOptions& options);
  CircuitBreaker(const CircuitBreaker&) = delete;
  CircuitBreaker& operator=(const CircuitBreaker&) = delete;

  /// Asks for leave for one call that begins at `now_us`.
  Permit allow(std::int64_t now_us) noexcept {
    const auto word = word_.load(std::memory_order_acquire);
    if (state_of(word) == BreakerState::closed) [[likely]] {
      const auto generation = generation_of(word);
      if (options_.slow_call_us != 0 && !begin_call(generation, now_us)) return allow_slowly(now_us);
      return {this, {generation, no_probe, 0, now_us}};
    }
    return allow_slowly(now_us);
  }

  /// Reports the end of a call. What belongs to another generation, or to a lease that has ended, moves nothing.
  void report(const Token& token, Verdict verdict, std::int64_t now_us, std::int64_t retry_after_us = 0) noexcept {
    if (verdict == Verdict::success && token.probe == no_probe && options_.slow_call_us == 0 &&
        in_bucket(token, now_us)) [[likely]] {
      return;
    }
    report_slowly(token, verdict, now_us, retry_after_us);
  }

  /// An open breaker whose time is over shows as half_open.
  BreakerState state(std::int64_t now_us) const noexcept;
  BreakerReport report(std::int64_t now_us) const noexcept;
  /// The same for people, with what is missing to trip.
  std::string report_json(std::int64_t now_us) const;

  void force_open(std::int64_t now_us) noexcept { force(BreakerState::forced_open, now_us); }
  void force_closed(std::int64_t now_us) noexcept { force(BreakerState::forced_closed, now_us); }
  void disable(std::int64_t now_us) noexcept { force(BreakerState::disabled, now_us); }
  /// Closed, with empty counts, from every state.
  void reset(std::int64_t now_us) noexcept { force(BreakerState::closed, now_us); }

  /// Tells `peer` of changes and probes from now on, for as long as the breaker lives. False: it has one already.
  bool attach(std::shared_ptr<BreakerPeer> peer) noexcept;
  /// What all who share it have agreed on, whatever it is here: open until then, closed, or a forced state. A state
  /// that was forced here stays unless `over_forced`. Whether it changed.
  bool follow(BreakerState state, std::int64_t until_us, bool over_forced, std::int64_t now_us) noexcept;
  /// While it is on, half-open lets through only the calls that grant() was given numbers for. Off: any `probes`.
  void gate_probes(bool on) noexcept { gated_.store(on, std::memory_order_release); }
  bool probes_gated() const noexcept { return gated_.load(std::memory_order_acquire); }
  /// Leave for one probe that begins before `until_us`. number: 1 to max_grant. False: there is no room for more.
  bool grant(std::uint32_t number, std::int64_t until_us) noexcept;
  /// Takes back what no call has used by then, one at a time; 0: there is none.
  std::uint32_t take_back_grant(std::int64_t now_us) noexcept;
  /// No probe will be granted before then: calls are refused without asking.
  void hold_probes(std::int64_t until_us) noexcept { held_until_us_.store(until_us, std::memory_order_relaxed); }

  const BreakerOptions& options() const { return options_; }

 private:
  static constexpr std::uint32_t buckets = 10;
  static constexpr std::uint32_t generation_bits = 20;
  static constexpr std::uint32_t time_bits = 41;
  static constexpr std::uint64_t time_mask = (std::uint64_t{1} << time_bits) - 1;
  static constexpr std::uint32_t generation_mask = (1u << generation_bits) - 1;

  // The word, from the low end: state, generation, and 41 bits: when open, the end in ms; when half-open, the probes'
  // counts of 8 bits each: issued, succeeded, failed.
  static BreakerState state_of(std::uint64_t word) { return static_cast<BreakerState>(word & 7); }
  static std::uint32_t generation_of(std::uint64_t word) {
    return static_cast<std::uint32_t>(word >> 3) & generation_mask;
  }
  static std::uint64_t payload_of(std::uint64_t word) { return word >> (3 + generation_bits); }
  static std::uint64_t word_of(BreakerState state, std::uint32_t generation, std::uint64_t payload) {
    return static_cast<std::uint64_t>(state) | std::uint64_t{generation & generation_mask} << 3 |
           payload << (3 + generation_bits);
  }

  /// A count with the bucket that it belongs to: a tag in the high half, so that an old bucket's count is recognised
  /// and never has to be wiped by somebody in time.
  using Cell = std::atomic<std::uint64_t>;
  struct Bucket {
    Cell calls{0};
    Cell failures{0};
    Cell slow{0};
  };
  struct alignas(64) Shard {
    // The bucket of the last outcome, so that the next one needs no division. The owner's alone.
    std::atomic<std::int64_t> begin_us{0};
    std::atomic<std::int64_t> end_us{0};
    std::atomic<std::uint64_t> tag{0};  // Of the bucket; the whole generation in the high half.
    std::atomic<Bucket*> bucket{nullptr};
    std::atomic<std::uint64_t> successes{0};
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::uint64_t> not_counted{0};
    std::atomic<std::uint64_t> late{0};
    std::atomic<std::uint64_t> refused{0};
    std::array<Bucket, buckets> ring;
    // Calls under way by the slow period in which they began, begun minus ended; a sum over the shards means
    // something, a single one may be negative.
    std::atomic<std::int64_t> slow_begin_us{0};
    std::atomic<std::int64_t> slow_end_us{0};
    std::atomic<std::int64_t> slow_period{0};
    std::array<Cell, 4> under_way{};
    Cell under_way_before{0};  // Of all periods that left `under_way`; tagged by generation.
  };

  explicit CircuitBreaker(const BreakerOptions& options);

  /// Counts a success where its bucket is the shard's present one. The hot path: one load of the word, no locked
  /// instruction.
  bool in_bucket(const Token& token, std::int64_t now_us) noexcept {
    const auto slot = thread_slot();
    if (slot == shared_thread_slot || options_.window != BreakerOptions::Window::time) return false;
    auto& shard = shards_[slot];
    constexpr auto relaxed = std::memory_order_relaxed;
    const auto tag = shard.tag.load(relaxed);
    if (tag >> 32 != token.generation || now_us < shard.begin_us.load(relaxed) ||
        now_us >= shard.end_us.load(relaxed)) {
      return false;
    }
    const auto word = word_.load(std::memory_order_acquire);
    if (generation_of(word) != token.generation || state_of(word) == BreakerState::disabled ||
        in_a_row_.load(relaxed) != 0) {
      return false;
    }
    auto& calls = shard.bucket.load(relaxed)->calls;
    const auto count = calls.load(relaxed);
    if (count >> 32 != (tag & 0xFFFFFFFF) || (count & 0xFFFFFFFF) == 0xFFFFFFFF) return false;
    calls.store(count + 1, relaxed);
    shard.successes.store(shard.successes.load(relaxed) + 1, relaxed);
    return true;
  }

  Permit allow_slowly(std::int64_t now_us) noexcept;
  void report_slowly(const Token& token, Verdict verdict, std::int64_t now_us, std::int64_t retry_after_us) noexcept;
  bool begin_call(std::uint32_t generation, std::int64_t now_us) noexcept;
  void end_call(std::uint32_t generation, std::int64_t begun_us, std::int64_t now_us) noexcept;
  void add_before(std::uint32_t slot, std::uint32_t generation, std::int32_t by) noexcept;
  void add_under_way(std::uint32_t slot, std::uint32_t generation, std::int64_t period, std::int32_t by) noexcept;
  void count(std::uint32_t generation, std::int64_t now_us, bool failed, bool slow) noexcept;
  /// grant: the word of the one that this probe uses; 0: none.
  Permit take_probe(std::uint32_t generation, std::int64_t now_us, std::uint64_t grant) noexcept;
  std::uint64_t take_grant(std::int64_t now_us) noexcept;
  void put_back(std::uint64_t grant) noexcept;
  void tell_end(std::uint32_t grant, Verdict verdict) noexcept;
  /// A probe's end in the given generation. False where that is over.
  bool settle(std::uint32_t generation, Verdict verdict, std::int64_t now_us, std::int64_t retry_after_us) noexcept;
  /// Looks for a probe whose lease has ended, and counts it as failed. True: there was one.
  bool expire_probe(std::uint32_t generation, std::int64_t now_us) noexcept;
  void judge(std::uint32_t generation, std::int64_t now_us, std::int64_t retry_after_us) noexcept;
  bool change(std::uint64_t& word, BreakerState to, std::uint64_t payload, BreakerReason reason,
              std::int64_t now_us) noexcept;
  void force(BreakerState state, std::int64_t now_us) noexcept;
  std::uint64_t open_until_ms(std::uint32_t generation, std::int64_t now_us,
                              std::int64_t retry_after_us) const noexcept;

  struct WindowSums {
    std::uint64_t calls = 0;
    std::uint64_t failures = 0;
    std::uint64_t slow = 0;
    std::uint64_t under_way = 0;
  };
  WindowSums sums(std::uint32_t generation, std::int64_t now_us) const noexcept;

  const BreakerOptions options_;
  const std::int64_t bucket_us_;
  // Apart from what is written often.
  alignas(64) std::atomic<std::uint64_t> word_{0};
  std::atomic<std::uint64_t> in_a_row_{0};  // Generation and failures in a row; 0 where there are none.
  std::atomic<std::uint64_t> trips_{0};
  // Of a shared breaker, rarely written.
  std::atomic<std::int64_t> held_until_us_{0};
  std::atomic<BreakerPeer*> peer_{nullptr};
  std::shared_ptr<BreakerPeer> peer_owner_;  // Written once, before peer_; shared with who shares the breaker.
  std::atomic<bool> gated_{false};
  std::atomic<bool> attached_{false};
  alignas(64) std::array<std::atomic<std::uint64_t>, max_probes> leases_{};
  // Of a shared breaker. The numbers of the grants that the leases use; a lease's is read before it is let go.
  std::array<std::atomic<std::uint32_t>, max_probes> grants_in_use_{};
  std::array<std::atomic<std::uint64_t>, max_probes> grants_{};  // Number 23 bits, end in ms 41; 0: none.
  alignas(64) std::array<Shard, thread_slot_count> shards_;
  // The last outcomes, each with its generation.
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  std::unique_ptr<std::atomic<std::uint32_t>[]> outcomes_;
};

}  // namespace gf::error
