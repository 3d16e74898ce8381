#include "error/thread_slot.hpp"

#include <atomic>
#include <bit>

namespace gf::error::detail {
namespace {

constinit std::atomic<std::uint32_t> taken_slots{0};
static_assert(own_thread_slots < 32);

/// Gives the place back when its thread ends. What else ends in that thread later counts in the shared place.
struct Claim {
  std::uint32_t slot = shared_thread_slot;
  ~Claim() {
    thread_slot_plus_one = shared_thread_slot + 1;
    if (slot != shared_thread_slot) taken_slots.fetch_and(~(1u << slot), std::memory_order_release);
  }
};

}  // namespace

std::uint32_t claim_thread_slot() noexcept {
  static thread_local Claim claim;
  auto taken = taken_slots.load(std::memory_order_relaxed);
  for (;;) {
    const auto slot = static_cast<std::uint32_t>(std::countr_one(taken));
    if (slot >= own_thread_slots) break;
    if (taken_slots.compare_exchange_weak(taken, taken | 1u << slot, std::memory_order_acquire,
                                          std::memory_order_relaxed)) {
      claim.slot = slot;
      thread_slot_plus_one = slot + 1;
      return slot;
    }
  }
  thread_slot_plus_one = shared_thread_slot + 1;
  return shared_thread_slot;
}

}  // namespace gf::error::detail
