// Job ids: 128 bits, ordered by time, the same text on every machine.
#pragma once

#include "base/result.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace gf {

/// A UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, 12 bits of fraction, 62 random bits.
struct JobId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  auto operator<=>(const JobId&) const = default;
  bool is_nil() const { return high == 0 && low == 0; }
};

/// Makes ids that rise within one maker, also when the clock stands still or steps back (RFC 9562, section 6.2,
/// method 3: sub-millisecond precision in rand_a). Threads: any.
class JobIdMaker {
 public:
  /// `unix_us`: the time that the id carries; `random`: 62 bits from a good source.
  JobId make(std::int64_t unix_us, std::uint64_t random);

 private:
  std::uint64_t last_ = 0;  // Of the 60 bits of time, the last that was given out. Accessed atomically.
};

/// 64 bits from the system's generator. Never fails: without one it falls back to clock and address bits, since ids
/// need uniqueness, not secrecy.
std::uint64_t random_bits() noexcept;

/// 32 lower-case hex digits, no dashes.
std::string to_text(const JobId& id);

/// Errors: invalid_argument when `text` is not 32 hex digits (dashes of the usual UUID form are accepted).
Result<JobId> parse_job_id(std::string_view text);

}  // namespace gf
