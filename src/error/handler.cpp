#include "error/handler.hpp"

#include "base/backoff.hpp"
#include "base/mix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>

namespace gf::error {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::int64_t whole_retry = 1000;

RecoveryStep built_in(Recovery wanted_a, Recovery wanted_b, const Error& error) {
  const auto* entry = find_status(static_cast<std::int32_t>(error.status));
  if (entry == nullptr || (entry->recovery != wanted_a && entry->recovery != wanted_b)) return {};
  return {RecoveryStep::Do::retry, 0};
}

bool says_cancelled(const Error& error) {
  return error.status == Status::cancelled || error.status == Status::shutting_down;
}

}  // namespace

Result<std::unique_ptr<ErrorHandler>> ErrorHandler::create(const HandlerOptions& options) {
  if (!(options.budget_ratio >= 0 && options.budget_ratio <= 10)) {
    return Error{
        Status::invalid_argument, fmt::format("budget_ratio is {}; it must be 0 to 10", options.budget_ratio), {}};
  }
  if (options.budget_burst < 1) return Error{Status::invalid_argument, "budget_burst is 0; it must be at least 1", {}};
  return std::unique_ptr<ErrorHandler>(new ErrorHandler(options));
}

ErrorHandler::ErrorHandler(const HandlerOptions& options)
    : options_(options),
      clock_(options.clock != nullptr ? *options.clock : system_clock()),
      retry_(std::make_shared<Entry>()),
      wait_(std::make_shared<Entry>()),
      budget_(std::int64_t{options.budget_burst} * whole_retry) {
  retry_->strategy = {"retry", {}, {}, [](const Error& error, const Failure&) {
                        return built_in(Recovery::retry, Recovery::reconnect, error);
                      }};
  wait_->strategy = {"wait", {}, {}, [](const Error& error, const Failure&) {
                       return built_in(Recovery::wait, Recovery::wait, error);
                     }};
}

Result<void> ErrorHandler::add(RecoveryStrategy strategy) {
  if (strategy.name.empty()) return Error{Status::invalid_argument, "name is empty", {}};
  if (!strategy.recover) {
    return Error{Status::invalid_argument, fmt::format("strategy {} has no function", strategy.name), {}};
  }
  auto made = std::make_shared<Entry>();
  made->strategy = std::move(strategy);
  const std::unique_lock lock(mutex_);
  const auto& name = made->strategy.name;
  const bool taken =
      name == retry_->strategy.name || name == wait_->strategy.name ||
      std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry->strategy.name == name; });
  if (taken) return Error{Status::already_exists, fmt::format("there is a strategy {} already", name), {}};
  entries_.push_back(std::move(made));
  return success();
}

bool ErrorHandler::remove(std::string_view name) {
  const std::unique_lock lock(mutex_);
  return std::erase_if(entries_, [&](const auto& entry) { return entry->strategy.name == name; }) > 0;
}

std::vector<std::shared_ptr<ErrorHandler::Entry>> ErrorHandler::asked_for(Status status) const {
  std::vector<std::shared_ptr<Entry>> out;
  const auto category = category_of(status);
  {
    const std::shared_lock lock(mutex_);
    out.reserve(entries_.size() + 2);
    const auto add = [&](auto&& is_for) {
      for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
        if (is_for((*entry)->strategy)) out.push_back(*entry);
      }
    };
    add([&](const RecoveryStrategy& s) { return s.status == status; });
    add([&](const RecoveryStrategy& s) { return !s.status && s.category == category; });
    add([&](const RecoveryStrategy& s) { return !s.status && !s.category; });
  }
  out.push_back(retry_);
  out.push_back(wait_);
  return out;
}

std::int64_t ErrorHandler::backoff_us(const RetryLimits& limits, std::uint32_t failures) {
  const auto base = std::max<std::int64_t>(limits.base_us, 1);
  const auto bound = backoff_bound_us(base, std::max(limits.cap_us, base), failures);
  // One draw a number, so that threads need no shared state but a counter.
  const auto draw = split_mix((options_.jitter_seed + 1) * split_mix_step + draws_.fetch_add(1, relaxed));
  if (bound == INT64_MAX) return static_cast<std::int64_t>(draw >> 1);
  return static_cast<std::int64_t>(draw % (static_cast<std::uint64_t>(bound) + 1));
}

bool ErrorHandler::take_from_budget() {
  auto held = budget_.load(relaxed);
  do {
    if (held < whole_retry) return false;
  } while (!budget_.compare_exchange_weak(held, held - whole_retry, relaxed));
  return true;
}

ErrorHandler::Course::Course(ErrorHandler& handler, const Operation& operation)
    : handler_(handler), operation_(operation) {
  handler_.operations_.fetch_add(1, relaxed);
  const auto full = std::int64_t{handler_.options_.budget_burst} * whole_retry;
  const auto share = static_cast<std::int64_t>(handler_.options_.budget_ratio * static_cast<double>(whole_retry));
  auto held = handler_.budget_.load(relaxed);
  while (held < full && !handler_.budget_.compare_exchange_weak(held, std::min(held + share, full), relaxed)) {
  }
}

ErrorHandler::Course::~Course() {
  if (!ended_) give_up(false);
}

bool ErrorHandler::Course::wait(std::int64_t us) {
  if (us <= 0) return true;
  return operation_.waiter != nullptr && operation_.waiter->wait(us);
}

std::optional<Error> ErrorHandler::Course::begin() {
  if (operation_.breaker == nullptr) return std::nullopt;
  for (;;) {
    const auto now_us = handler_.clock_.now_us();
    auto permit = operation_.breaker->allow(now_us);
    if (permit) {
      permit_.emplace(std::move(permit));
      return std::nullopt;
    }
    const auto wait_us = permit.retry_after_us();
    // Only a wait that leads somewhere is waited for.
    const bool in_time = operation_.waiter != nullptr && wait_us < operation_.deadline_us - now_us &&
                         operation_.deadline_us != INT64_MAX;
    if (in_time && wait(wait_us)) continue;
    Error error{Status::breaker_open, fmt::format("the breaker of {} is open", operation_.name), {}};
    error.retry_after_us = wait_us;
    give_up(in_time);
    return error;
  }
}

void ErrorHandler::Course::succeeded() {
  if (permit_) permit_->success(handler_.clock_.now_us());
  permit_.reset();
  ended_ = true;
  if (failures_ == 0) {
    handler_.clean_.fetch_add(1, relaxed);
    return;
  }
  handler_.recovered_.fetch_add(1, relaxed);
  if (last_) last_->recovered.fetch_add(1, relaxed);
}

void ErrorHandler::Course::fell_back(bool well) {
  ended_ = true;
  if (!well) {
    handler_.failed_.fetch_add(1, relaxed);
    handler_.failed_recoverable_.fetch_add(1, relaxed);
    return;
  }
  handler_.recovered_.fetch_add(1, relaxed);
  if (last_) last_->recovered.fetch_add(1, relaxed);
}

ErrorHandler::Next ErrorHandler::Course::give_up(bool cancelled) {
  ended_ = true;
  handler_.failed_.fetch_add(1, relaxed);
  if (cancelled) {
    handler_.cancelled_.fetch_add(1, relaxed);
  } else if (taken_on_) {
    handler_.failed_recoverable_.fetch_add(1, relaxed);
  }
  return Next::give_up;
}

ErrorHandler::Next ErrorHandler::Course::failed(const Error& error) {
  ++failures_;
  const auto now_us = handler_.clock_.now_us();
  if (permit_) permit_->failed(error, now_us);
  permit_.reset();
  if (says_cancelled(error)) return give_up(true);

  RecoveryStep step;
  for (const auto& entry : handler_.asked_for(error.status)) {
    try {
      step = entry->strategy.recover(error, {operation_.name, failures_, now_us});
    } catch (...) {
      handler_.thrown_.fetch_add(1, relaxed);
      step = {};
    }
    if (step.what == RecoveryStep::Do::pass) continue;
    if (step.what != RecoveryStep::Do::abort) {
      entry->tried.fetch_add(1, relaxed);
      last_ = entry;
      taken_on_ = true;
    }
    break;
  }
  if (step.what == RecoveryStep::Do::fallback) return Next::fall_back;
  if (step.what != RecoveryStep::Do::retry) return give_up(false);
  constexpr std::uint32_t most_uncounted = 100;  // Whatever a strategy says.
  if (!step.counts && uncounted_ < most_uncounted) ++uncounted_;
  if (failures_ - uncounted_ >= operation_.limits.attempts) return give_up(false);
  const auto asked_us =
      std::clamp<std::int64_t>(error.retry_after_us, 0, std::max<std::int64_t>(operation_.limits.asked_cap_us, 0));
  // Where a strategy has mended the cause there is nothing to back off from.
  const bool mended = last_ != handler_.retry_ && last_ != handler_.wait_;
  const auto own_us = mended ? 0 : handler_.backoff_us(operation_.limits, failures_);
  const auto wait_us = std::max({own_us, asked_us, step.wait_us});
  if (wait_us >= operation_.deadline_us - now_us) return give_up(false);
  if (step.costs && !handler_.take_from_budget()) {
    handler_.out_of_budget_.fetch_add(1, relaxed);
    return give_up(false);
  }
  if (!wait(wait_us)) return give_up(operation_.waiter != nullptr);
  handler_.retries_.fetch_add(1, relaxed);
  return Next::again;
}

HandlerStatistics ErrorHandler::statistics() const {
  HandlerStatistics out;
  out.operations = operations_.load(relaxed);
  out.clean = clean_.load(relaxed);
  out.recovered = recovered_.load(relaxed);
  out.failed = failed_.load(relaxed);
  out.failed_recoverable = failed_recoverable_.load(relaxed);
  out.cancelled = cancelled_.load(relaxed);
  out.retries = retries_.load(relaxed);
  out.out_of_budget = out_of_budget_.load(relaxed);
  out.strategies_thrown = thrown_.load(relaxed);
  const auto add = [&](const Entry& entry) {
    out.strategies[entry.strategy.name] = {entry.tried.load(relaxed), entry.recovered.load(relaxed)};
  };
  add(*retry_);
  add(*wait_);
  const std::shared_lock lock(mutex_);
  for (const auto& entry : entries_) add(*entry);
  return out;
}

}  // namespace gf::error
