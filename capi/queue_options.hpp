// What queues and rate limiters at the ABI have in common.
#pragma once

#include "base/result.hpp"
#include "gameforge/gameforge.h"
#include "queue/token_bucket.hpp"
#include "redis/client.hpp"

#include <cstdint>
#include <optional>

namespace gf::capi {

/// None for a rate without tokens. The room checks the rest.
std::optional<queue::TokenBucketLimits> limits_of(const gf_rate& rate);

/// Errors: invalid_argument.
Result<redis::ClientOptions> client_options(std::int64_t command_timeout_us);

}  // namespace gf::capi
