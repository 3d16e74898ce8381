// Waiting on a word of memory with a timeout, and the numbers of thread and process: what the system offers of these.
#pragma once

#include <atomic>
#include <cstdint>

namespace gf {

/// Waits while `word` is `seen`, at most so long; a negative time means for ever. May return early, so look again.
/// Unlike std::atomic's wait it has a timeout. Threads: any.
void wait_on(const std::atomic<std::uint32_t>& word, std::uint32_t seen, std::int64_t timeout_us) noexcept;
/// Wakes all who wait on `word`. A system call each time: callers know whether anybody waits.
void wake_all(const std::atomic<std::uint32_t>& word) noexcept;

/// The calling thread's number as the system's tools show it.
std::uint32_t thread_number() noexcept;
/// The process's number, which is another one in a fork's child.
std::int64_t process_number() noexcept;

}  // namespace gf
