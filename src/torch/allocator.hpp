// libtorch's CPU allocator, so that the host's ledger knows of every tensor before it is taken: weights and activations
// alike are refused where they would pass the limit, with libtorch's own out-of-memory error.
#pragma once

#include "torch/host.hpp"

#include <cstdint>

namespace gf::torch {

/// Makes it libtorch's allocator for the CPU, for as long as the process lives. To be called before libtorch has
/// allocated for anybody else. Threads: any; libtorch is not at work meanwhile.
void install_ledger_allocator();
/// False where it was not installed, or somebody installed another one since: then allocations are not charged.
bool ledger_allocator_is_installed();

/// While it lives, what libtorch takes on its thread is charged to the host's ledger. One inside another hides it. What
/// is taken is given back to the ledger that it was charged to, whoever frees it and wherever; what a thread takes
/// without one, the workers of libtorch's own pools too, is not charged.
class Charging {
 public:
  /// promised: weights are taken from this promise as long as it lasts, and on top of it after that. Outlives this.
  Charging(const Host& host, std::uint32_t device, gf_backend_memory_kind kind, Charge* promised = nullptr) noexcept;
  ~Charging();
  Charging(const Charging&) = delete;
  Charging& operator=(const Charging&) = delete;

  /// What this thread has taken under it less what it has given back of the same kind.
  std::uint64_t bytes() const noexcept { return bytes_ > 0 ? static_cast<std::uint64_t>(bytes_) : 0; }

 private:
  friend class LedgerAllocator;
  static Charging*& current() noexcept;

  LedgerAccount& account_;
  const std::uint32_t device_;
  const gf_backend_memory_kind kind_;
  Charge* const promised_;
  Charging* const outer_;
  std::int64_t bytes_ = 0;
};

/// Bytes of this process's tensors that no ledger knows of, since the allocator was installed.
std::uint64_t uncharged_bytes();

}  // namespace gf::torch
