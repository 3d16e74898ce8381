#include "migrate/worker.hpp"

#include "base/json_text.hpp"
#include "base/platform.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace gf::migrate {
namespace {

std::chrono::steady_clock::time_point deadline_in(std::int64_t timeout_us) {
  // Further off than a year is for ever, and more would overflow the clock.
  constexpr std::int64_t longest_us = std::int64_t{366} * 86'400 * 1'000'000;
  return std::chrono::steady_clock::now() + std::chrono::microseconds(std::min(timeout_us, longest_us));
}

void fill(const Report& report, Outcome& outcome) {
  outcome.report = to_json(report);
  outcome.failure = report.failure;
  outcome.steps = static_cast<std::uint32_t>(report.steps.size());
  outcome.warnings = static_cast<std::uint32_t>(report.warnings.size());
  for (const auto& step : report.steps) {
    if (step.done) ++outcome.done;
    outcome.drops += static_cast<std::uint32_t>(step.drops.size());
    outcome.warnings += static_cast<std::uint32_t>(step.warnings.size());
  }
  outcome.waited_us = report.waited_us;
  outcome.check_us = report.check_us;
  outcome.apply_us = report.apply_us;
}

void fill(const ValidateReport& report, Outcome& outcome) {
  outcome.report = to_json(report);
  outcome.steps = outcome.done = static_cast<std::uint32_t>(report.checked);
  outcome.warnings = static_cast<std::uint32_t>(report.warnings.size());
  outcome.problems = static_cast<std::uint32_t>(report.errors.size() + report.drift.size());
  if (!report.errors.empty()) {
    outcome.problem = report.errors.front().status;
  } else if (!report.drift.empty()) {
    outcome.problem = Status::schema_drift;
  }
}

void fill(StatusReport report, Outcome& outcome) {
  outcome.report = to_json(report);
  outcome.highest_applied = report.highest_applied;
  outcome.pending = static_cast<std::uint32_t>(report.pending);
  outcome.problems = static_cast<std::uint32_t>(report.problems);
  for (const auto& entry : report.entries) {
    if (outcome.problem != Status::ok) break;
    if (entry.state == "changed") outcome.problem = Status::checksum_mismatch;
    if (entry.state == "missing") outcome.problem = Status::not_found;
    if (entry.state == "unknown") outcome.problem = Status::schema_too_new;
    if (entry.state == "late" || entry.state == "unfinished") outcome.problem = Status::wrong_state;
  }
  outcome.entries = std::move(report.entries);
}

void fill(const std::vector<SchemaDifference>& differences, Outcome& outcome) {
  outcome.report = to_json(differences);
  outcome.problems = static_cast<std::uint32_t>(differences.size());
  if (!differences.empty()) outcome.problem = Status::schema_drift;
}

/// The result of a call that gives a report of its own, or its error.
template <class T>
void settle(Result<T> result, Outcome& outcome) {
  if (result) {
    fill(std::move(result).value(), outcome);
  } else {
    outcome.error = std::move(result).as_failure().error();
  }
}

}  // namespace

Result<std::shared_ptr<Worker>> Worker::open(Settings settings) {
  const std::shared_ptr<Worker> worker(new Worker);
  auto* const self = worker.get();  // The hooks are called on the thread, which has a share.
  settings.cancel = &self->cancelled_;
  settings.hooks.progress = [self](const Event& event) { self->note(event); };
  GF_TRY(self->migrator_, Migrator::open(std::move(settings)));
  return worker;
}

Worker::~Worker() {
  // The thread has a share of its own, so that it is over, or is this very one and ends now.
  if (thread_.joinable()) thread_.detach();
}

void Worker::note(const Event& event) {
  const std::lock_guard lock(mutex_);
  // Of what only tells how far it is, the newest counts.
  const bool replaces = event.type == EventType::statement || event.type == EventType::waiting;
  if (replaces && !events_.empty()) {
    auto& last = events_.back().event;
    if (last.type == event.type && last.label == event.label && last.direction == event.direction) {
      last = event;
      return;
    }
  }
  events_.push_back({event, false, Status::ok});
}

Result<void> Worker::start(Request request) {
  const std::lock_guard lock(mutex_);
  if (closing_) return Error{Status::shutting_down, "the migrator is being closed", {}};
  if (outcome_.running) {
    return Error{Status::wrong_state, "another work of this migrator is running; wait for its end, or cancel it", {}};
  }
  // Over but for its last lines.
  if (thread_.joinable()) thread_.join();
  cancelled_ = false;
  const auto work = request.work;
  try {
    thread_ =
        start_thread("gf-migrate", [self = shared_from_this(), request = std::move(request)] { self->run(request); });
  } catch (const std::system_error& error) {
    return Error{Status::io_error, fmt::format("a thread could not be started: {}", error.what()), {}};
  }
  // The thread needs the lock before it can tell of an event, or that it is over.
  events_.clear();
  outcome_ = {};
  outcome_.work = work;
  outcome_.running = true;
  return success();
}

void Worker::cancel() { cancelled_ = true; }

void Worker::carry_out(const Request& request, Outcome& outcome) const {
  Report report;
  const auto told = [&](Result<void> result) {
    fill(report, outcome);
    if (!result) outcome.error = std::move(result).as_failure().error();
  };
  switch (request.work) {
    case Work::none:
      return;
    case Work::plan:
      return settle(migrator_->plan(request.goal), outcome);
    case Work::apply:
      return told(migrator_->apply(request.goal, report));
    case Work::prove:
      return told(migrator_->prove(request.goal, request.in_place, report));
    case Work::status:
      return settle(migrator_->status(), outcome);
    case Work::validate:
      return settle(migrator_->validate(), outcome);
    case Work::round_trip:
      return settle(migrator_->round_trip(), outcome);
    case Work::baseline:
      return told(migrator_->baseline(request.version, report));
    case Work::repair:
      return told(migrator_->repair(request.repair, request.version, request.reason, report));
    case Work::dump: {
      auto dump = migrator_->dump();
      if (dump) {
        outcome.report = std::move(JsonText().begin_object().member("dump", dump.value()).end_object()).str();
      } else {
        outcome.error = std::move(dump).as_failure().error();
      }
      return;
    }
    case Work::diff:
      return settle(migrator_->diff(), outcome);
    case Work::drift:
      return settle(migrator_->drift(), outcome);
  }
}

// The bottom of a thread, so nothing may leave it.
void Worker::run(const Request& request) noexcept {
  Outcome outcome;
  outcome.work = request.work;
  try {
    carry_out(request, outcome);
  } catch (const std::bad_alloc&) {
    outcome = {};
    outcome.work = request.work;
    outcome.error = Error{Status::out_of_host_memory, {}, {}};
  } catch (const std::exception& error) {
    outcome.error = Error{Status::internal, {}, {}};
    try {
      outcome.error->message = error.what();
    } catch (const std::bad_alloc&) {
      // The status alone, then.
    }
  }
  const std::lock_guard lock(mutex_);
  outcome.running = false;
  outcome_ = std::move(outcome);
  try {
    events_.push_back({{}, true, outcome_.error ? outcome_.error->status : Status::ok});
  } catch (const std::bad_alloc&) {
    // wait() tells of the end all the same.
  }
  over_.notify_all();
}

Result<bool> Worker::wait(std::int64_t timeout_us) {
  std::unique_lock lock(mutex_);
  if (outcome_.work == Work::none) return Error{Status::wrong_state, "no work was started yet", {}};
  return over_.wait_until(lock, deadline_in(timeout_us), [&] { return !outcome_.running; });
}

Result<void> Worker::close(std::int64_t timeout_us) {
  std::thread thread;
  bool over = false;
  {
    std::unique_lock lock(mutex_);
    if (thread_.get_id() == std::this_thread::get_id() && outcome_.running) {
      return Error{Status::wrong_state, "a migrator cannot be closed by its own thread, from a hook", {}};
    }
    closing_ = true;
    cancelled_ = true;
    over = over_.wait_until(lock, deadline_in(timeout_us), [&] { return !outcome_.running; });
    thread = std::move(thread_);
  }
  if (!thread.joinable()) return success();
  if (over) {
    thread.join();
    return success();
  }
  thread.detach();
  return Error{Status::timed_out,
               fmt::format("the migrator's thread is still ending after {} us; it ends behind this call", timeout_us),
               {}};
}

}  // namespace gf::migrate
