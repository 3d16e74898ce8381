// The ledger: what is held and what is promised of each device's memory, so that a limit is never passed.
#pragma once

#include "base/result.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace gf::cache {

/// What bytes are counted as; values of gf_backend_memory_kind.
enum class MemoryKind : std::uint32_t { weights = 0, activations = 1, staging = 2 };
inline constexpr std::uint32_t memory_kinds = 3;

/// One device's account, bytes.
struct LedgerAccount {
  std::array<std::uint64_t, memory_kinds> committed{};  ///< Held, by kind.
  std::array<std::uint64_t, memory_kinds> reserved{};   ///< Promised, not yet held.
  std::uint64_t total = 0;                              ///< Sum of both.
  std::uint64_t peak = 0;                               ///< The largest total so far.
  std::uint64_t limit = 0;                              ///< 0: none.
};

/// Threads: any. Its lock is held for a few additions only, and not taken by who reads: a call of the host must not
/// wait for an executor.
class Ledger {
 public:
  static constexpr std::uint32_t max_devices = 64;

  /// 0 takes the limit away. An unknown device is passed over, as in commit and release. A limit below what is held
  /// stops what is new; nothing is taken back here.
  void set_limit(std::uint32_t device, std::uint64_t bytes);

  /// Promises bytes. Errors: over_budget names what was asked, what is held and the limit; invalid_argument (no such
  /// kind or device). Nothing is promised then.
  Result<void> reserve(std::uint32_t device, MemoryKind kind, std::uint64_t bytes);
  /// Turns a promise into bytes that are held. More than was promised is counted all the same: it is there.
  void commit(std::uint32_t device, MemoryKind kind, std::uint64_t bytes);
  /// Gives back bytes that are held, or gives up a promise.
  void release(std::uint32_t device, MemoryKind kind, std::uint64_t bytes, bool committed);

  /// As it is about now: what changes meanwhile may show in one number and not yet in another.
  LedgerAccount account(std::uint32_t device) const;

 private:
  struct Account {
    std::array<std::atomic<std::uint64_t>, memory_kinds> committed{};
    std::array<std::atomic<std::uint64_t>, memory_kinds> reserved{};
    std::atomic<std::uint64_t> total{0};
    std::atomic<std::uint64_t> peak{0};
    std::atomic<std::uint64_t> limit{0};
  };

  static void settle(Account& account);

  std::mutex mutex_;                           // Held by who writes.
  std::array<Account, max_devices> accounts_;  // By device.
};

/// The ledger of this process's devices: several engines share one device. Lives as long as the process.
std::shared_ptr<Ledger> process_ledger();

}  // namespace gf::cache
