// Time, passed in as an interface wherever it is used, so that tests need no waiting.
#pragma once

#include <cstdint>

namespace gf {

/// Threads: any.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotonic microseconds from an arbitrary zero in the past.
  virtual std::int64_t now_us() const noexcept = 0;
  /// Microseconds since the Unix epoch, as the machine's clock has it; may step.
  virtual std::int64_t unix_us() const noexcept = 0;
};

/// The machine's own clocks. Lives as long as the process.
const Clock& system_clock() noexcept;

}  // namespace gf
