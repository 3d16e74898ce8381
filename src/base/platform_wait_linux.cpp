#include "base/platform_wait.hpp"

#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gf {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "the kernel sees the plain word");

long futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) noexcept {
  return syscall(SYS_futex, reinterpret_cast<const std::uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value,
                 timeout, nullptr, 0);
}

}  // namespace

void wait_on(const std::atomic<std::uint32_t>& word, std::uint32_t seen, std::int64_t timeout_us) noexcept {
  if (word.load(std::memory_order_acquire) != seen) return;
  timespec timeout{};
  timeout.tv_sec = static_cast<std::time_t>(timeout_us / 1'000'000);
  timeout.tv_nsec = static_cast<long>(timeout_us % 1'000'000 * 1000);
  futex(word, FUTEX_WAIT, seen, timeout_us < 0 ? nullptr : &timeout);
}

void wake_all(const std::atomic<std::uint32_t>& word) noexcept { futex(word, FUTEX_WAKE, INT_MAX, nullptr); }

bool has_all_threads_fence() noexcept {
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void all_threads_fence() noexcept { syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0); }

std::uint32_t thread_number() noexcept { return static_cast<std::uint32_t>(syscall(SYS_gettid)); }

std::int64_t thread_cpu_us() noexcept {
  timespec used{};
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0) return 0;
  return std::int64_t{used.tv_sec} * 1'000'000 + used.tv_nsec / 1000;
}

std::int64_t process_number() noexcept { return getpid(); }

}  // namespace gf
