// Handles: what a host holds is a slot and a generation, so that a stale one is recognised and never followed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>
#include <vector>

namespace gf::capi {

/// The objects behind one type of handle. A handle's low half is its slot plus one, so that none is NULL; the high half
/// counts how often the slot was used, so that it takes 2^32 releases of one slot to make an old handle valid again.
///
/// Threads: any. The lock is held for a look-up only, never while an object works, and no executor takes it.
template <class Handle, class Object>
class HandleTable {
  static_assert(sizeof(void*) == 8, "a handle needs 64 bits");

 public:
  /// Takes a share of `object` and returns its handle. Throws bad_alloc, and then holds nothing.
  Handle* insert(std::shared_ptr<Object> object) {
    const std::unique_lock lock(mutex_);
    if (free_.empty()) {
      // Now, so that release() needs no memory later; doubled, because reserve() alone grows by exactly one.
      if (free_.capacity() <= slots_.size()) free_.reserve(2 * slots_.size() + 16);
      // Each table starts elsewhere, so that another type's handle, or a small number, is as good as none here.
      slots_.emplace_back().generation =
          static_cast<std::uint32_t>((reinterpret_cast<std::uintptr_t>(this) * 0x9E3779B97F4A7C15u) >> 32);
      free_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
    }
    const auto slot = free_.back();
    free_.pop_back();
    slots_[slot].object = std::move(object);
    return handle_of(slot);
  }

  /// A share of the object, or nullptr for a handle that was released or never given. The share keeps a call's object
  /// alive when another thread releases the handle meanwhile.
  std::shared_ptr<Object> find(const Handle* handle) const {
    const std::shared_lock lock(mutex_);
    const auto slot = slot_of(handle);
    return slot < slots_.size() ? slots_[slot].object : nullptr;
  }

  /// Ends the handle and gives the host's share of the object; nullptr for a handle that was released or never given.
  /// The caller drops the share when the lock is gone: a destructor may take long.
  std::shared_ptr<Object> take(const Handle* handle) {
    const std::unique_lock lock(mutex_);
    const auto slot = slot_of(handle);
    if (slot >= slots_.size() || !slots_[slot].object) return nullptr;
    auto object = std::exchange(slots_[slot].object, nullptr);
    ++slots_[slot].generation;
    free_.push_back(static_cast<std::uint32_t>(slot));
    return object;
  }

 private:
  struct Slot {
    std::shared_ptr<Object> object;
    std::uint32_t generation = 0;
  };

  Handle* handle_of(std::uint32_t slot) const {
    const auto value = std::uint64_t{slots_[slot].generation} << 32 | (std::uint64_t{slot} + 1);
    return reinterpret_cast<Handle*>(value);
  }

  /// slots_.size() for what is no handle of ours.
  std::size_t slot_of(const Handle* handle) const {
    const auto value = reinterpret_cast<std::uint64_t>(handle);
    const auto slot = static_cast<std::size_t>(value & 0xFFFFFFFF) - 1;  // NULL wraps round to no slot.
    return slot < slots_.size() && slots_[slot].generation == value >> 32 ? slot : slots_.size();
  }

  mutable std::shared_mutex mutex_;
  std::vector<Slot> slots_;          // Guarded by mutex_.
  std::vector<std::uint32_t> free_;  // Guarded by mutex_; its capacity is never below slots_'s size.
};

}  // namespace gf::capi
