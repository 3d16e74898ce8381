// Exponential backoff: how long to wait at most before something is tried again.
#pragma once

#include <algorithm>
#include <cstdint>

namespace gf {

/// min(cap, base * 2^(failures - 1)), of at least one failure; microseconds, as base and cap are. The wait itself is
/// drawn from 0 to it ("full jitter": Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
constexpr std::int64_t backoff_bound_us(std::int64_t base_us, std::int64_t cap_us, std::uint32_t failures) noexcept {
  auto bound = base_us;
  // Doubled step by step: a shift by a count of failures, and a doubling past the cap, could leave the type's range.
  for (std::uint32_t count = 1; count < failures && bound < cap_us && bound > 0; ++count) {
    bound = bound > cap_us / 2 ? cap_us : bound * 2;
  }
  return std::min(bound, cap_us);
}

}  // namespace gf
