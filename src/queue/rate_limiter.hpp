// Rate limiter: whether a user may submit now, by limits of the user's class, of the queue and of all.
#pragma once

#include "base/clock.hpp"
#include "queue/index_heap.hpp"
#include "queue/names.hpp"
#include "queue/slab.hpp"
#include "queue/token_bucket.hpp"
#include "redis/client.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace gf::queue {

/// None: no limit of that sort.
struct RateLimits {
  std::optional<TokenBucketLimits> global = std::nullopt;
  std::optional<TokenBucketLimits> per_queue = std::nullopt;
  std::optional<TokenBucketLimits> per_user = std::nullopt;    ///< Of users whose class has none of its own.
  std::map<std::string, TokenBucketLimits> user_classes = {};  ///< Each user has a bucket of their own by these.
};
/// Errors: invalid_argument, those of TokenRate::create.
Result<void> check(const RateLimits& limits);

struct RateQuestion {
  std::string queue = {};
  std::string user = {};
  std::string user_class = {};
  std::uint32_t tokens = 1;
};

/// Takes tokens from every bucket that is concerned, or from none: what is refused is not charged. The state of a
/// bucket is kept until it is full again, and no longer; a limit that changes holds from the next question on.
///
/// Threads: any.
class RateLimiter {
 public:
  virtual ~RateLimiter() = default;
  /// Errors: invalid_argument for names as in check_name, and for more tokens than a burst, which no wait would help;
  /// those of the Redis client.
  virtual Result<TokenBucketAnswer> take(const RateQuestion& question) = 0;
  /// Errors: those of check().
  virtual Result<void> configure(const RateLimits& limits) = 0;
};

/// Within the process, O(log users).
class MemoryRateLimiter final : public RateLimiter {
 public:
  /// clock: lives as long as the limiter.
  static Result<std::unique_ptr<MemoryRateLimiter>> create(const RateLimits& limits,
                                                           const Clock& clock = system_clock());
  Result<TokenBucketAnswer> take(const RateQuestion& question) override;
  Result<void> configure(const RateLimits& limits) override;
  /// Buckets that are not full.
  std::size_t bucket_count() const;

 private:
  struct Bucket {
    std::int64_t full_at_us = 0;
    std::uint32_t expiry_at = IndexHeap<std::int64_t>::nowhere;
  };

  MemoryRateLimiter(const RateLimits& limits, const Clock& clock) : clock_(clock), limits_(limits) {}

  const Clock& clock_;
  mutable std::mutex mutex_;
  RateLimits limits_;  // Guarded by mutex_, as all that follows.
  Names names_;
  Slab<Bucket> buckets_;  // By the name's number.
  IndexHeap<std::int64_t> expiry_;
};

struct RedisRateLimiterOptions {
  std::string url;
  std::string name_space = "gameforge";
  RateLimits limits = {};
  redis::ClientOptions client = {};
  std::string test_clock = {};  ///< As of redis_script(). For tests alone.
};

/// In Redis, one script a question, with the server's time: all who share the name space share the buckets.
class RedisRateLimiter final : public RateLimiter {
 public:
  /// Errors: those of check() and Client::create. Connects at the first question.
  static Result<std::unique_ptr<RedisRateLimiter>> create(RedisRateLimiterOptions options);
  Result<TokenBucketAnswer> take(const RateQuestion& question) override;
  Result<void> configure(const RateLimits& limits) override;

 private:
  RedisRateLimiter(RedisRateLimiterOptions options, std::unique_ptr<redis::Client> client);

  const std::string name_space_;
  const std::unique_ptr<redis::Client> client_;
  redis::Script script_;
  mutable std::mutex mutex_;
  RateLimits limits_;  // Guarded by mutex_.
};

}  // namespace gf::queue
