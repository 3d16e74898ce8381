// Breakers shared by the processes of a fleet through Redis: what one finds out the others hear of, and the probes of a
// half-open breaker are one set for all.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "error/breaker.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace gf::error {

/// Of the keys' layout. Keys that another version has written are refused.
inline constexpr int shared_breakers_schema = 1;

struct SharedBreakersOptions {
  std::string url;                       ///< As of redis::Url.
  std::string name_space = "gameforge";  ///< Who gives the same shares the breakers. No braces.
  /// In how many processes a breaker must have tripped before it opens for all: a machine that is sick by itself opens
  /// its own alone. 1 to 1000.
  std::uint32_t quorum = 2;
  std::int64_t vote_us = 600'000'000;         ///< For how long a process's trip counts; 1 s to 7 days.
  std::int64_t command_timeout_us = 500'000;  ///< Of a turn to the server; 10 ms to 60 s.
  /// What is known of the others counts for so long after the server was last heard; 1 s to 7 days.
  std::int64_t stale_us = 30'000'000;
  std::int64_t flush_us = 1'000'000;  ///< How often counts are sent while there are new ones; 10 ms to 1 h.
  /// How long a process that hears nothing sleeps before it looks by itself; 100 ms to 1 h.
  std::int64_t look_every_us = 15'000'000;
  const Clock* clock = nullptr;  ///< That of the breakers' callers; nullptr: system_clock(). Outlives the threads.
  std::shared_ptr<LogSink> log;  ///< Shared with the threads; not called any more once close() has begun.
};

/// What all who share a breaker have of it in common.
struct SharedBreakerState {
  BreakerState state = BreakerState::closed;  ///< Open with no time left: it is probed.
  std::string epoch;                          ///< Drawn when the keys were made; empty: there are none.
  std::uint64_t generation = 0;
  std::int64_t left_us = 0;   ///< Until the break's end, or a forced state's.
  std::uint32_t votes = 0;    ///< Processes whose own breaker has tripped lately.
  std::uint32_t probing = 0;  ///< Probes under way.
  std::string reason;         ///< Of the last change: "quorum", "probes_failed", "probes_succeeded", "forced".
  std::string by;             ///< Who forced it, or the process that made the change.
  std::uint64_t successes = 0;
  std::uint64_t failures = 0;
  std::uint64_t not_counted = 0;
  std::uint64_t refused = 0;
};

struct SharedBreakersStatistics {
  bool linked = false;             ///< The server answered last time.
  std::int64_t heard_ago_us = -1;  ///< Since its last answer; negative: never.
  std::uint64_t turns = 0;         ///< Round trips to the server.
  std::uint64_t commands = 0;
  std::uint64_t failures = 0;       ///< Turns without an answer.
  std::uint64_t wake_ups = 0;       ///< Of both threads.
  std::uint64_t lost_outcomes = 0;  ///< Of probes, for want of room; their places come free by their leases.
};

/// A call is never held up: what allow() and report() see is the breaker's own word, and one thread carries its changes
/// to the server and the others' back. Another waits for news in a stream. Each transition is one script, which
/// compares epoch and generation with those that the change was made of, by the server's clock alone; so no update is
/// lost, and clocks are not compared.
///
/// Where the server cannot be reached the breakers go on by themselves, with probes of their own, and what was shared
/// is forgotten when it is stale. Where it has lost its data, no state is closed with empty counts.
///
/// Keys, in one slot: {NAME_SPACE:breakers}:state:BREAKER (hash), :votes:BREAKER and :probes:BREAKER (sorted sets), and
/// :changes (stream), :seen:PROCESS (string). Each expires a day after its last use, and never before its state ends.
///
/// Threads: any, for every function.
class SharedBreakers {
 public:
  /// Connects in the background. Errors: invalid_argument, those of Url::parse; io_error without a thread.
  static Result<std::unique_ptr<SharedBreakers>> open(const SharedBreakersOptions& options);
  ~SharedBreakers();
  SharedBreakers(const SharedBreakers&) = delete;
  SharedBreakers& operator=(const SharedBreakers&) = delete;

  /// Shares a breaker under a name of 1 to 200 bytes, for as long as both live; it is shared once at most. Waits up to
  /// timeout_us until the present state is known; 0: it comes within a turn to the server.
  /// Errors: invalid_argument; already_exists: it is shared already; timed_out: it is shared, and the server was not
  /// heard; schema_too_new, wrong_state: the keys are not of this version, or not ours, and the breaker stays alone.
  Result<void> share(const std::shared_ptr<CircuitBreaker>& breaker, std::string_view name, std::int64_t timeout_us);

  /// Sets a state by hand for all: closed (with empty counts), forced open, forced closed or disabled, or refuses where
  /// the server does not answer. `by`: who, 1 to 100 bytes; expires_us: 1 s to 7 days, unless closed.
  /// Errors: invalid_argument, those of the Redis client, schema_too_new, wrong_state.
  Result<void> force(std::string_view name, BreakerState state, std::int64_t expires_us, std::string_view by);
  /// Asks the server. Errors: as force().
  Result<SharedBreakerState> look(std::string_view name);

  /// Returns when every change and count that was there before is with the server. Errors: timed_out.
  Result<void> flush(std::int64_t timeout_us);
  /// Sends the last counts, gives unused probes back and ends the threads; waits at most so long, plus the moment that
  /// a thread takes to end. The breakers go on alone.
  void close(std::int64_t timeout_us);
  SharedBreakersStatistics statistics() const;

 private:
  struct Member;
  struct Core;
  explicit SharedBreakers(std::shared_ptr<Core> core);

  std::shared_ptr<Core> core_;  // Shared with the threads, which may outlive close() in the system's resolver.
};

}  // namespace gf::error
