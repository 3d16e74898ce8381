// The breakers of one engine by the name of what they guard, bounded in number.
#pragma once

#include "error/breaker.hpp"

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace gf::error {

/// Makes a breaker at the first use of a name. Where there are too many, the one that was asked for least recently
/// goes, of those that nobody holds and that are closed without a failure in the window: a state that protects is never
/// lost. Threads: any; the lock is held for a look-up only, not while a call runs.
class BreakerRegistry {
 public:
  /// limit: at least 1. Errors: invalid_argument, also where the options are wrong.
  static Result<std::unique_ptr<BreakerRegistry>> create(const BreakerOptions& options, std::size_t limit = 1024);

  /// Shared with every caller that has it in use, so that one breaker guards one name.
  /// Errors: over_budget when all that there may be are in use or not quiet.
  Result<std::shared_ptr<CircuitBreaker>> get(std::string_view name, std::int64_t now_us);
  std::size_t size() const;

 private:
  BreakerRegistry(const BreakerOptions& options, std::size_t limit) : options_(options), limit_(limit) {}

  struct Entry {
    std::string name;
    std::shared_ptr<CircuitBreaker> breaker;
  };

  const BreakerOptions options_;
  const std::size_t limit_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // Most recently used first. Guarded by mutex_, as the next.
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_name_;
};

}  // namespace gf::error
