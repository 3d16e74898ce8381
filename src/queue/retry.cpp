#include "queue/retry.hpp"

#include <fmt/format.h>

namespace gf::queue {
namespace {

__extension__ using Wide = unsigned __int128;

}  // namespace

Result<void> check(const RetryPolicy& policy) {
  if (policy.max_attempts < 1 || policy.max_attempts > 1000) {
    return Error{
        Status::invalid_argument, fmt::format("max_attempts is {}; it must be 1 to 1000", policy.max_attempts), {}};
  }
  if (policy.cap_us < 0 || policy.cap_us > max_delay_us) {
    return Error{
        Status::invalid_argument, fmt::format("cap_us is {}; it must be 0 to {}", policy.cap_us, max_delay_us), {}};
  }
  if (policy.base_us < 0 || policy.base_us > policy.cap_us) {
    return Error{Status::invalid_argument,
                 fmt::format("base_us is {}; it must be 0 to cap_us, {}", policy.base_us, policy.cap_us),
                 {}};
  }
  return success();
}

bool is_retryable(Status status, const RetryRules& rules) {
  if (const auto rule = rules.find(status); rule != rules.end()) return rule->second == RetryRule::retry;
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  return entry != nullptr && entry->retryable;
}

std::int64_t backoff_us(const RetryPolicy& policy, std::uint32_t failures, std::uint64_t random) {
  const auto choices = static_cast<std::uint64_t>(backoff_bound_us(policy, failures)) + 1;
  // Lemire's multiply-shift (2019) without the rejection: of at most 2^50 choices its bias is below 2^-13.
  return static_cast<std::int64_t>((static_cast<Wide>(random) * choices) >> 64);
}

}  // namespace gf::queue
