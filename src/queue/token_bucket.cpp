#include "queue/token_bucket.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace gf::queue {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

Result<std::int64_t> interval_of(const TokenBucketLimits& limits) {
  if (limits.period_us < 1 || limits.period_us > TokenRate::max_refill_us) {
    return invalid(fmt::format("period_us is {}; it must be 1 to {}", limits.period_us, TokenRate::max_refill_us));
  }
  const auto tokens = limits.tokens_per_period;
  if (tokens < 1 || tokens > limits.period_us) {
    return invalid(fmt::format("tokens_per_period is {}; it must be 1 to period_us, {}", tokens, limits.period_us));
  }
  return (limits.period_us + tokens - 1) / tokens;
}

}  // namespace

Result<TokenRate> TokenRate::create(const TokenBucketLimits& limits) {
  GF_TRY(const auto interval_us, interval_of(limits));
  const auto max_burst = max_refill_us / interval_us;
  if (limits.burst < 1 || limits.burst > max_burst) {
    return invalid(fmt::format("burst is {}; at this rate it must be 1 to {}", limits.burst, max_burst));
  }
  return TokenRate(interval_us, limits.burst);
}

Result<TokenBucketAnswer> TokenRate::take(std::int64_t& full_at_us, std::int64_t now_us, std::uint32_t tokens) const {
  if (now_us < 0 || now_us > max_now_us) {
    return invalid(fmt::format("now_us is {}; it must be 0 to {}", now_us, max_now_us));
  }
  // More than the burst is an error and not a refusal, because no wait would ever help.
  if (tokens < 1 || tokens > burst_) {
    return invalid(fmt::format("tokens is {}; it must be 1 to the burst, {}", tokens, burst_));
  }

  const auto latest_full_at_us = now_us + refill_us();
  // Further off than an empty bucket's refill can only mean that the clock stepped back, or that the limit rose. The
  // correction is kept even when the call is refused: otherwise every retry would meet the same far-off time and be
  // refused in its turn.
  full_at_us = std::min(full_at_us, latest_full_at_us);

  const auto before_us = std::max(full_at_us, now_us);
  const auto after_us = before_us + tokens * interval_us_;
  const bool admitted = after_us <= latest_full_at_us;
  if (admitted) full_at_us = after_us;

  const auto left_us = latest_full_at_us - (admitted ? after_us : before_us);
  return TokenBucketAnswer{
      .admitted = admitted,
      .retry_after_us = admitted ? 0 : after_us - latest_full_at_us,
      .remaining = static_cast<std::uint32_t>(left_us / interval_us_),
  };
}

}  // namespace gf::queue
