#include "pipeline/ledger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace gf::pipeline {
namespace {

// What a caller gives back twice must not make the account wrap round to 16 exabytes.
void subtract(std::uint64_t& from, std::uint64_t bytes) { from -= std::min(from, bytes); }

std::uint64_t sum(const LedgerAccount& account) {
  std::uint64_t out = 0;
  for (std::size_t kind = 0; kind < memory_kinds; ++kind) out += account.committed[kind] + account.reserved[kind];
  return out;
}

void settle(LedgerAccount& account) {
  account.total = sum(account);
  account.peak = std::max(account.peak, account.total);
}

std::size_t index_of(MemoryKind kind) { return static_cast<std::size_t>(kind); }

}  // namespace

void Ledger::set_limit(std::uint32_t device, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  accounts_[device].limit = bytes;
}

Result<void> Ledger::reserve(std::uint32_t device, MemoryKind kind, std::uint64_t bytes) {
  if (index_of(kind) >= memory_kinds) {
    return Error{Status::invalid_argument, fmt::format("memory kind {} is unknown", index_of(kind)), {}};
  }
  const std::lock_guard lock(mutex_);
  auto& account = accounts_[device];
  // Without a limit of its own an account still ends where its sums would.
  const auto limit = account.limit == 0 ? std::numeric_limits<std::uint64_t>::max() / 2 : account.limit;
  if (account.total > limit || bytes > limit - account.total) {
    return Error{Status::over_budget,
                 fmt::format("{} bytes were asked of device {}, which holds {} of at most {}", bytes, device,
                             account.total, limit),
                 {}};
  }
  account.reserved[index_of(kind)] += bytes;
  settle(account);
  return success();
}

void Ledger::commit(std::uint32_t device, MemoryKind kind, std::uint64_t bytes) {
  if (index_of(kind) >= memory_kinds) return;
  const std::lock_guard lock(mutex_);
  auto& account = accounts_[device];
  subtract(account.reserved[index_of(kind)], bytes);
  account.committed[index_of(kind)] += bytes;
  settle(account);
}

void Ledger::release(std::uint32_t device, MemoryKind kind, std::uint64_t bytes, bool committed) {
  if (index_of(kind) >= memory_kinds) return;
  const std::lock_guard lock(mutex_);
  auto& account = accounts_[device];
  subtract(committed ? account.committed[index_of(kind)] : account.reserved[index_of(kind)], bytes);
  settle(account);
}

LedgerAccount Ledger::account(std::uint32_t device) const {
  const std::lock_guard lock(mutex_);
  const auto found = accounts_.find(device);
  return found == accounts_.end() ? LedgerAccount{} : found->second;
}

std::map<std::uint32_t, LedgerAccount> Ledger::accounts() const {
  const std::lock_guard lock(mutex_);
  return accounts_;
}

Ledger& process_ledger() {
  // Never destroyed: threads of an engine that was not waited for may outlive static destruction.
  static auto* const ledger = new Ledger;
  return *ledger;
}

}  // namespace gf::pipeline
