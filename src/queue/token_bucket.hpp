// Token bucket: how many jobs a user may submit or start per period, kept as a single integer of state.
#pragma once

#include "base/result.hpp"

#include <cstdint>

namespace gf::queue {

/// A rate of `tokens_per_period`, of which up to `burst` may be spent at once after a pause.
struct TokenBucketLimits {
  std::uint32_t tokens_per_period = 1;  ///< 1 to period_us.
  std::int64_t period_us = 1'000'000;   ///< Microseconds; at least 1.
  std::uint32_t burst = 1;              ///< Tokens that a full bucket holds; at least 1.

  bool operator==(const TokenBucketLimits&) const = default;
};

/// Answer of a take. A refusal is an answer, not an error: the caller decides whether to wait or to report.
struct TokenBucketAnswer {
  bool admitted = false;
  std::int64_t retry_after_us = 0;  ///< 0 when admitted; else the shortest wait after which the same call is admitted.
  std::uint32_t remaining = 0;      ///< Whole tokens left in the bucket after this call.
};

/// Limits in the form that the arithmetic wants.
///
/// Algorithm: GCRA in its virtual scheduling form (ITU-T Recommendation I.371, Annex A), generalised to several tokens
/// a call. The state is the time at which the bucket will be full again (GCRA's theoretical arrival time), so that
/// whole microseconds and one integer let the memory queue and the Redis scripts do the same sums.
///
/// Time: the caller passes it, from any clock whose zero lies in the past. A clock that steps back costs one refill of
/// the bucket at most. Nothing of the limits is in the state but as time owed, which take() cuts to what an empty
/// bucket of the limits of today owes: a new limit holds from the next call on.
///
/// Threads: immutable; the state is the caller's.
class TokenRate {
 public:
  /// Largest time that a clock may show (142 years) and longest refill of a whole bucket (35 years), microseconds.
  static constexpr std::int64_t max_now_us = std::int64_t{1} << 52;
  static constexpr std::int64_t max_refill_us = std::int64_t{1} << 50;
  // The largest sum that take() forms: beyond 2^53 the doubles of a Redis script no longer count by ones.
  static_assert(max_now_us + 2 * max_refill_us < std::int64_t{1} << 53);

  /// The time for one token is rounded up to whole microseconds, so the true rate is never above the asked one, and
  /// below it by 0.1 % at most up to 1000 tokens a second.
  /// Errors: invalid_argument when a limit is out of its range or a full refill takes longer than max_refill_us.
  static Result<TokenRate> create(const TokenBucketLimits& limits);

  /// Takes `tokens` (1 to the burst) at `now_us` (0 to max_now_us), all of them or none.
  /// full_at_us: the state; 0 for a bucket that was never used.
  /// Errors: invalid_argument when an argument is out of its range; the bucket is then as it was.
  Result<TokenBucketAnswer> take(std::int64_t& full_at_us, std::int64_t now_us, std::uint32_t tokens = 1) const;

  std::int64_t interval_us() const { return interval_us_; }
  std::uint32_t burst() const { return burst_; }
  std::int64_t refill_us() const { return interval_us_ * burst_; }

 private:
  TokenRate(std::int64_t interval_us, std::uint32_t burst) : interval_us_(interval_us), burst_(burst) {}

  std::int64_t interval_us_;  // Time in which one token comes back.
  std::uint32_t burst_;
};

/// A rate with its state. Threads: not synchronised; its owner guards it. Copying copies the state.
class TokenBucket {
 public:
  static constexpr std::int64_t max_now_us = TokenRate::max_now_us;
  static constexpr std::int64_t max_refill_us = TokenRate::max_refill_us;

  /// A full bucket. Errors: those of TokenRate::create.
  static Result<TokenBucket> create(const TokenBucketLimits& limits) {
    GF_TRY(const auto rate, TokenRate::create(limits));
    return TokenBucket(rate);
  }

  /// As TokenRate::take.
  Result<TokenBucketAnswer> take(std::int64_t now_us, std::uint32_t tokens = 1) {
    return rate_.take(full_at_us_, now_us, tokens);
  }

 private:
  explicit TokenBucket(TokenRate rate) : rate_(rate) {}

  TokenRate rate_;
  std::int64_t full_at_us_ = 0;
};

}  // namespace gf::queue
