// Whether and when a job that failed runs again.
#pragma once

#include "base/backoff.hpp"
#include "queue/job.hpp"

#include <cstdint>
#include <map>

namespace gf::queue {

/// What a failure of some status means, where it is not what the status table says.
enum class RetryRule : std::uint32_t { never = 0, retry = 1 };
using RetryRules = std::map<Status, RetryRule>;

/// Errors: invalid_argument names the field that is out of its range.
Result<void> check(const RetryPolicy& policy);

/// Whether a failure may be retried at all: by `rules`, else by the status table's column `retryable`.
bool is_retryable(Status status, const RetryRules& rules);

/// The wait before the next run of a job that failed `failures` times: full jitter, that is uniform from 0 to
/// min(cap, base * 2^(failures - 1)), both ends included.
///
/// Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, there "Full Jitter".
/// random: 64 uniform bits. failures: at least 1.
std::int64_t backoff_us(const RetryPolicy& policy, std::uint32_t failures, std::uint64_t random);

/// The upper end of that range.
inline std::int64_t backoff_bound_us(const RetryPolicy& policy, std::uint32_t failures) {
  return gf::backoff_bound_us(policy.base_us, policy.cap_us, failures);
}

}  // namespace gf::queue
