// The ledger: what is held and what is promised of each device's memory, so that a limit is never passed.
#pragma once

#include "base/result.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <mutex>

namespace gf::pipeline {

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

/// Threads: any. Its lock is held for a few additions only.
class Ledger {
 public:
  /// 0 takes the limit away. A limit below what is held stops what is new; nothing is taken back here.
  void set_limit(std::uint32_t device, std::uint64_t bytes);

  /// Promises bytes. Errors: over_budget names what was asked, what is held and the limit; invalid_argument (no such
  /// kind). Nothing is promised then.
  Result<void> reserve(std::uint32_t device, MemoryKind kind, std::uint64_t bytes);
  /// Turns a promise into bytes that are held. More than was promised is counted all the same: it is there.
  void commit(std::uint32_t device, MemoryKind kind, std::uint64_t bytes);
  /// Gives back bytes that are held, or gives up a promise.
  void release(std::uint32_t device, MemoryKind kind, std::uint64_t bytes, bool committed);

  LedgerAccount account(std::uint32_t device) const;
  std::map<std::uint32_t, LedgerAccount> accounts() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uint32_t, LedgerAccount> accounts_;  // Guarded by mutex_.
};

/// The ledger of this process's devices: several engines share one device. Lives as long as the process.
Ledger& process_ledger();

}  // namespace gf::pipeline
