// What engines, queues and rate limiters at the ABI have in common.
#pragma once

#include "base/result.hpp"
#include "gameforge/gameforge.h"
#include "queue/job.hpp"
#include "queue/rate_limiter.hpp"
#include "queue/token_bucket.hpp"
#include "redis/client.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace gf::capi {

/// None for a rate without tokens. The room checks the rest.
std::optional<queue::TokenBucketLimits> limits_of(const gf_rate& rate);

/// Reads the rates of classes of users into `limits`; `prefix`: how messages call the fields, such as
/// "options->class". Errors: invalid_argument.
Result<void> read_classes(const char* const* names, const gf_rate* rates, std::uint32_t count, std::string_view prefix,
                          queue::RateLimits& limits);

/// gf_priority. Errors: unsupported.
Result<queue::Priority> read_priority(std::uint32_t priority, std::string_view what);

/// A wait or age of which 0 is the default and GF_NEVER none, which is 0 in the rooms.
constexpr std::int64_t wait_or(std::int64_t given_us, std::int64_t fallback_us) {
  return given_us == 0 ? fallback_us : given_us == GF_NEVER ? 0 : given_us;
}

/// Errors: invalid_argument.
Result<redis::ClientOptions> client_options(std::int64_t command_timeout_us);

}  // namespace gf::capi
