// Error handling in one place: what is tried before an error goes on to the host, by whom, how often, and what came of
// it.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "error/breaker.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace gf::error {

/// What a strategy decides about one failure.
struct RecoveryStep {
  enum class Do : std::uint32_t {
    pass = 0,      ///< Not its business: the next strategy is asked.
    retry = 1,     ///< The same again after wait_us, or after the handler's backoff where that is longer.
    fallback = 2,  ///< The operation's fallback instead; where it has none the error goes on.
    abort = 3      ///< The error goes on, and no other strategy is asked.
  };
  Do what = Do::pass;
  std::int64_t wait_us = 0;
  /// Whether a retry counts among the operation's attempts. Not where the strategy mended something, and can do so only
  /// a few times.
  bool counts = true;
  /// Whether a retry costs of the handler's budget, which is there to spare others. Not where nobody else is asked.
  bool costs = true;
};

/// One failure of an operation, as strategies see it.
struct Failure {
  std::string_view operation;  ///< A static name such as "load".
  std::uint32_t failures = 1;  ///< Of this operation so far, this one included.
  std::int64_t now_us = 0;
};

/// Something that can mend a kind of error. Registered by the room that can carry it out (cache: free memory; queue:
/// requeue), or by the host; may block for as long as its work takes.
struct RecoveryStrategy {
  std::string name;  ///< Also the name of its counters.
  /// What it is for: a status, else a category, else everything.
  std::optional<Status> status;
  std::optional<Category> category;
  /// Called by the thread whose operation failed; several may run at a time. What it throws is counted and taken as
  /// pass.
  std::function<RecoveryStep(const Error&, const Failure&)> recover;
};

/// How retries of one operation are limited.
struct RetryLimits {
  std::uint32_t attempts = 3;              ///< Runs in all; 1 to 100. Waiting for a breaker is no run.
  std::int64_t base_us = 50'000;           ///< The first backoff is up to this; at least 1.
  std::int64_t cap_us = 5'000'000;         ///< No backoff is longer; at least base_us.
  std::int64_t asked_cap_us = 60'000'000;  ///< Nor what an error asks for by retry_after_us. At least 0.
};

/// Waits for a backoff to be over. Of the caller, since only it knows what else could end the wait.
class Waiter {
 public:
  virtual ~Waiter() = default;
  /// False: it gave up early (cancelled, shutting down), and nothing is tried again.
  virtual bool wait(std::int64_t us) = 0;
};

/// One run of something that may fail.
struct Operation {
  std::string_view name;  ///< Static.
  RetryLimits limits{};
  std::int64_t deadline_us = INT64_MAX;  ///< By the handler's clock: no wait goes past it.
  CircuitBreaker* breaker = nullptr;     ///< Asked before each run and told its end. Must outlive the call.
  Waiter* waiter = nullptr;              ///< nullptr: nothing is waited for, so only what needs no wait is tried again.
};

/// Counts since the handler was made: operations = clean + recovered + failed, at every moment when none is running.
struct HandlerStatistics {
  struct Strategy {
    std::uint64_t tried = 0;
    std::uint64_t recovered = 0;  ///< Operations that ended well after it was the last to act.
  };
  std::uint64_t operations = 0;
  std::uint64_t clean = 0;
  std::uint64_t recovered = 0;
  std::uint64_t failed = 0;
  std::uint64_t failed_recoverable = 0;  ///< Of failed, those that some strategy had taken on.
  std::uint64_t cancelled = 0;           ///< Of failed, those whose error or waiter said so.
  std::uint64_t retries = 0;
  std::uint64_t out_of_budget = 0;  ///< Retries that the budget refused.
  std::uint64_t strategies_thrown = 0;
  std::map<std::string, Strategy> strategies;
};

struct HandlerOptions {
  /// The retry budget: each operation adds `budget_ratio` of a retry, up to `budget_burst`; each retry takes one. So
  /// when everything fails the load grows by that share alone. After Finagle's RetryBudget (twitter/finagle).
  double budget_ratio = 0.2;         ///< 0 to 10.
  std::uint32_t budget_burst = 100;  ///< At least 1; the budget is full at the beginning.
  std::uint64_t jitter_seed = 1;
  const Clock* clock = nullptr;  ///< nullptr: system_clock(). Must outlive the handler.
};

/// One recovery pipeline in a fixed order: breaker, run, report to the breaker, strategies, backoff. Strategies for the
/// status are asked before those for the category, those before the ones for everything; among equals the last
/// registered first, so that a host's comes before ours. The built-in ones come last: "retry" (full jitter; Brooker,
/// "Exponential Backoff And Jitter", AWS 2015) for what the status table says is mended by trying again, and "wait" for
/// what names its time. What only another room can mend (memory, quarantine, requeue) passes where that room has
/// registered nothing.
///
/// An open breaker costs no attempt: where the waiter and the deadline allow it its time is waited for, else the answer
/// is breaker_open with retry_after_us.
///
/// Threads: any, for every function. No lock is held while an operation or a strategy runs.
class ErrorHandler {
 public:
  static Result<std::unique_ptr<ErrorHandler>> create(const HandlerOptions& options);

  /// Errors: invalid_argument where it has no name or no function; already_exists where the name is taken.
  Result<void> add(RecoveryStrategy strategy);
  /// False: there is none of that name.
  bool remove(std::string_view name);

  /// Runs `body`, a callable that takes the number of the run (from 1) and returns Result<T>, until it succeeds or
  /// nothing can be done. `fallback`, a callable that takes the error and returns Result<T>, is for strategies that say
  /// so.
  template <class T, class Body, class Fallback>
  Result<T> run(const Operation& operation, Body&& body, Fallback&& fallback) {
    Course course(*this, operation);
    for (;;) {
      if (auto refused = course.begin()) return std::move(*refused);
      Result<T> result = body(course.attempt());
      if (result) {
        course.succeeded();
        return result;
      }
      switch (course.failed(result.error())) {
        case Next::again:
          continue;
        case Next::fall_back: {
          Result<T> other = fallback(result.error());
          course.fell_back(other.has_value());
          return other;
        }
        case Next::give_up:
          return result;
      }
    }
  }
  template <class T, class Body>
  Result<T> run(const Operation& operation, Body&& body) {
    return run<T>(operation, std::forward<Body>(body), [](const Error& error) -> Result<T> { return error; });
  }

  HandlerStatistics statistics() const;

 private:
  enum class Next : std::uint32_t { again, fall_back, give_up };
  struct Entry {
    RecoveryStrategy strategy;
    std::atomic<std::uint64_t> tried{0};
    std::atomic<std::uint64_t> recovered{0};
  };

  /// One operation on its way. The calling thread's own.
  class Course {
   public:
    Course(ErrorHandler& handler, const Operation& operation);
    /// It counts as failed where it was left by an exception.
    ~Course();
    Course(const Course&) = delete;
    Course& operator=(const Course&) = delete;

    std::uint32_t attempt() const { return failures_ + 1; }
    /// Asks the breaker. An error: the run may not begin.
    std::optional<Error> begin();
    void succeeded();
    Next failed(const Error& error);
    void fell_back(bool well);

   private:
    bool wait(std::int64_t us);
    Next give_up(bool cancelled);

    ErrorHandler& handler_;
    const Operation& operation_;
    std::uint32_t failures_ = 0;
    std::uint32_t uncounted_ = 0;  // Of them, those after which something was mended.
    bool ended_ = false;
    bool taken_on_ = false;
    std::shared_ptr<Entry> last_;
    std::optional<CircuitBreaker::Permit> permit_;
  };

  explicit ErrorHandler(const HandlerOptions& options);
  std::int64_t backoff_us(const RetryLimits& limits, std::uint32_t failures);
  bool take_from_budget();
  std::vector<std::shared_ptr<Entry>> asked_for(Status status) const;

  const HandlerOptions options_;
  const Clock& clock_;
  mutable std::shared_mutex mutex_;
  std::vector<std::shared_ptr<Entry>> entries_;  // In the order of registration. Guarded by mutex_.
  const std::shared_ptr<Entry> retry_;
  const std::shared_ptr<Entry> wait_;
  std::atomic<std::int64_t> budget_;  // In thousandths of a retry.
  std::atomic<std::uint64_t> draws_{0};
  std::atomic<std::uint64_t> operations_{0};
  std::atomic<std::uint64_t> clean_{0};
  std::atomic<std::uint64_t> recovered_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<std::uint64_t> failed_recoverable_{0};
  std::atomic<std::uint64_t> cancelled_{0};
  std::atomic<std::uint64_t> retries_{0};
  std::atomic<std::uint64_t> out_of_budget_{0};
  std::atomic<std::uint64_t> thrown_{0};
};

}  // namespace gf::error
