#include "error/breaker_registry.hpp"

#include <fmt/format.h>

#include <functional>
#include <iterator>

namespace gf::error {

Result<std::unique_ptr<BreakerRegistry>> BreakerRegistry::create(const BreakerOptions& options, std::size_t limit) {
  if (limit < 1) return Error{Status::invalid_argument, "limit is 0; it must be at least 1", {}};
  GF_TRYV(CircuitBreaker::create(options));
  return std::unique_ptr<BreakerRegistry>(new BreakerRegistry(options, limit));
}

Result<std::shared_ptr<CircuitBreaker>> BreakerRegistry::get(std::string_view name, std::int64_t now_us) {
  const std::lock_guard lock(mutex_);
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->breaker;
  }
  if (entries_.size() >= limit_) {
    auto quiet = entries_.end();
    for (auto at = entries_.end(); at != entries_.begin();) {
      --at;
      if (at->breaker.use_count() > 1) continue;
      const auto report = at->breaker->report(now_us);
      // Held by nobody, so no call is under way. A row of failures is worth keeping as well.
      if (report.state == BreakerState::closed && report.window_failures == 0 && report.failures_in_a_row == 0) {
        quiet = at;
        break;
      }
    }
    if (quiet == entries_.end()) {
      return Error{Status::over_budget,
                   fmt::format("there are {} breakers, all in use or not quiet; no more are kept", limit_),
                   {}};
    }
    by_name_.erase(quiet->name);
    entries_.erase(quiet);
  }
  auto options = options_;
  options.jitter_seed = options_.jitter_seed ^ std::hash<std::string_view>()(name);
  GF_TRY(auto breaker, CircuitBreaker::create(options));
  entries_.push_front({std::string(name), breaker});
  by_name_.emplace(entries_.front().name, entries_.begin());
  return breaker;
}

std::size_t BreakerRegistry::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace gf::error
