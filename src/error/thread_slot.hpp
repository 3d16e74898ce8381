// Which of a few places in sharded counters belongs to the calling thread alone.
#pragma once

#include <cstdint>

namespace gf::error {

/// Threads that own a place of their own at a time; all further ones share the last place.
inline constexpr std::uint32_t own_thread_slots = 16;
inline constexpr std::uint32_t shared_thread_slot = own_thread_slots;
inline constexpr std::uint32_t thread_slot_count = own_thread_slots + 1;

namespace detail {
inline thread_local constinit std::uint32_t thread_slot_plus_one = 0;  // 0: not asked yet.
std::uint32_t claim_thread_slot() noexcept;
}  // namespace detail

/// 0 to own_thread_slots - 1 for a thread that has that place for itself until it ends (so plain loads and stores do
/// there, and whoever gets the place next sees them), or shared_thread_slot. Threads: any.
///
/// Like a thread's id this is no state that anybody could depend on: one 16-bit set of places for the process, without
/// a constructor or destructor.
inline std::uint32_t thread_slot() noexcept {
  const auto known = detail::thread_slot_plus_one;
  return known != 0 ? known - 1 : detail::claim_thread_slot();
}

}  // namespace gf::error
