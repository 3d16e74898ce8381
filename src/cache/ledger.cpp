#include "cache/ledger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace gf::cache {
namespace {

// What a caller gives back twice must not make the account wrap round to 16 exabytes.
void subtract(std::atomic<std::uint64_t>& from, std::uint64_t bytes) { from -= std::min(from.load(), bytes); }

std::size_t index_of(MemoryKind kind) { return static_cast<std::size_t>(kind); }

bool is_known(std::uint32_t device, MemoryKind kind) {
  return device < Ledger::max_devices && index_of(kind) < memory_kinds;
}

}  // namespace

void Ledger::settle(Account& account) {
  std::uint64_t total = 0;
  for (std::size_t kind = 0; kind < memory_kinds; ++kind) total += account.committed[kind] + account.reserved[kind];
  account.total = total;
  account.peak = std::max(account.peak.load(), total);
}

void Ledger::set_limit(std::uint32_t device, std::uint64_t bytes) {
  if (device < max_devices) accounts_[device].limit = bytes;
}

Result<void> Ledger::reserve(std::uint32_t device, MemoryKind kind, std::uint64_t bytes) {
  if (!is_known(device, kind)) {
    return Error{Status::invalid_argument,
                 fmt::format("device {} and memory kind {} are not below {} and {}", device, index_of(kind),
                             max_devices, memory_kinds),
                 {}};
  }
  const std::lock_guard lock(mutex_);
  auto& account = accounts_[device];
  // Without a limit of its own an account still ends where its sums would.
  const auto set = account.limit.load();
  const auto limit = set == 0 ? std::numeric_limits<std::uint64_t>::max() / 2 : set;
  const auto total = account.total.load();
  if (total > limit || bytes > limit - total) {
    return Error{
        Status::over_budget,
        fmt::format("{} bytes were asked of device {}, which holds {} of at most {}", bytes, device, total, limit),
        {}};
  }
  account.reserved[index_of(kind)] += bytes;
  settle(account);
  return success();
}

void Ledger::commit(std::uint32_t device, MemoryKind kind, std::uint64_t bytes) {
  if (!is_known(device, kind)) return;
  const std::lock_guard lock(mutex_);
  auto& account = accounts_[device];
  subtract(account.reserved[index_of(kind)], bytes);
  account.committed[index_of(kind)] += bytes;
  settle(account);
}

void Ledger::release(std::uint32_t device, MemoryKind kind, std::uint64_t bytes, bool committed) {
  if (!is_known(device, kind)) return;
  const std::lock_guard lock(mutex_);
  auto& account = accounts_[device];
  subtract(committed ? account.committed[index_of(kind)] : account.reserved[index_of(kind)], bytes);
  settle(account);
}

LedgerAccount Ledger::account(std::uint32_t device) const {
  LedgerAccount out;
  if (device >= max_devices) return out;
  const auto& account = accounts_[device];
  for (std::size_t kind = 0; kind < memory_kinds; ++kind) {
    out.committed[kind] = account.committed[kind];
    out.reserved[kind] = account.reserved[kind];
  }
  out.total = account.total;
  out.peak = account.peak;
  out.limit = account.limit;
  return out;
}

std::shared_ptr<Ledger> process_ledger() {
  // Never destroyed: threads of an engine that was not waited for may outlive static destruction.
  static auto* const ledger = new std::shared_ptr<Ledger>(std::make_shared<Ledger>());
  return *ledger;
}

}  // namespace gf::cache
