// Carries out one call of a Migrator at a time on a thread of its own, so that a host can poll what it does, cancel it
// and wait for it no longer than it likes.
#pragma once

#include "base/result.hpp"
#include "migrate/migrate.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gf::migrate {

enum class Work : std::uint8_t {
  none,
  plan,
  apply,
  prove,
  status,
  validate,
  round_trip,
  baseline,
  repair,
  dump,
  diff,
  drift
};

/// What is asked of the worker; each work reads what it needs.
struct Request {
  Work work = Work::none;
  Goal goal;                            ///< plan, apply, prove.
  bool in_place = false;                ///< prove.
  std::int64_t version = 0;             ///< baseline, repair.
  Repair repair = Repair::accept_edit;  ///< repair.
  std::string reason;                   ///< repair.
};

/// How the last work stands.
struct Outcome {
  Work work = Work::none;
  bool running = false;
  std::optional<Error> error;  ///< Of a work that could not be carried out.
  std::optional<FailureReport> failure;
  std::string report;                ///< JSON; filled as far as it came, also with an error.
  std::vector<StatusEntry> entries;  ///< status.
  std::int64_t highest_applied = 0;  ///< status.
  std::uint32_t pending = 0;         ///< status.
  std::uint32_t steps = 0;           ///< Migrations of the plan.
  std::uint32_t done = 0;            ///< Of them carried out.
  std::uint32_t drops = 0;           ///< Statements of the plan that lose data.
  std::uint32_t warnings = 0;
  std::uint32_t problems = 0;   ///< Found by a work that was carried out: errors, drift, differences.
  Status problem = Status::ok;  ///< The first one's.
  std::int64_t waited_us = 0;
  std::int64_t check_us = 0;
  std::int64_t apply_us = 0;
};

/// An event of the running work; `ended` is the last one of each.
struct WorkEvent {
  Event event;
  bool ended = false;
  Status status = Status::ok;  ///< With `ended`.
};

/// Threads: any. Work is started by one and may be watched, cancelled and closed by others.
class Worker : public std::enable_shared_from_this<Worker> {
 public:
  /// Errors: those of Migrator::open. The settings' cancel flag and progress hook are the worker's own.
  static Result<std::shared_ptr<Worker>> open(Settings settings);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Errors: wrong_state while another work runs; shutting_down; out_of_host_memory, io_error (no thread). Nothing was
  /// begun then.
  Result<void> start(Request request);
  /// The running work ends as cancelled at its next statement or wait. Nothing where none runs.
  void cancel();

  /// Hands the oldest event to `take`, and drops it where that gives true. False: there is none.
  template <class Take>
  bool poll(Take&& take) {
    const std::lock_guard lock(mutex_);
    if (events_.empty()) return false;
    if (take(static_cast<const WorkEvent&>(events_.front()))) events_.pop_front();
    return true;
  }

  /// True: the work is over. Errors: wrong_state when none was ever started.
  Result<bool> wait(std::int64_t timeout_us);
  /// `look` reads the outcome under the lock.
  template <class Look>
  auto outcome(Look&& look) const {
    const std::lock_guard lock(mutex_);
    return look(static_cast<const Outcome&>(outcome_));
  }

  /// Cancels and waits. Errors: timed_out: the thread ends behind the call; wrong_state: called by that thread.
  Result<void> close(std::int64_t timeout_us);

 private:
  Worker() = default;
  void run(const Request& request) noexcept;
  void carry_out(const Request& request, Outcome& outcome) const;
  void note(const Event& event);

  std::optional<Migrator> migrator_;
  std::atomic<bool> cancelled_{false};

  mutable std::mutex mutex_;
  std::condition_variable over_;
  Outcome outcome_;               // Guarded by mutex_.
  std::deque<WorkEvent> events_;  // Guarded by mutex_.
  bool closing_ = false;          // Guarded by mutex_.
  std::thread thread_;            // Guarded by mutex_.
};

}  // namespace gf::migrate
