// The processor's own counter of time, which costs a third of reading a clock.
#pragma once

#include <cstdint>

namespace gf {

/// Whether ticks() rises at one rate, in step on every core, whatever the processor's frequency and sleep.
bool has_steady_ticks() noexcept;

/// The counter; of no unit. Threads: any.
inline std::uint64_t ticks() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

}  // namespace gf
