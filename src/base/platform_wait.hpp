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

/// Two sides that each store and then load must fence in between, or both may miss the other's store. Where one side is
/// hurried and the other has time, the latter's all_threads_fence() stands for both: every other thread of the process
/// has fenced somewhere during it, and the former needs light_fence() alone, which costs nothing.
/// (membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED.)
///
/// has_all_threads_fence: whether the system has it; asked once before the first fence. Threads: any.
bool has_all_threads_fence() noexcept;
void all_threads_fence() noexcept;
inline void light_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

/// The calling thread's number as the system's tools show it.
std::uint32_t thread_number() noexcept;
/// Processor time that the calling thread has used, microseconds; 0 when unknown.
std::int64_t thread_cpu_us() noexcept;
/// The process's number, which is another one in a fork's child.
std::int64_t process_number() noexcept;

}  // namespace gf
