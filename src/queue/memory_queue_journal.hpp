// What the in-process queue knows of its journal: which jobs have changed since it was written, and who waits for that.
#pragma once

#include "queue/journal.hpp"
#include "queue/memory_queue.hpp"
#include "queue/memory_queue_node.hpp"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace gf::queue {

/// What of a job the journal does not have yet.
namespace change {
inline constexpr std::uint8_t arrival = 1;  ///< All of it.
inline constexpr std::uint8_t state = 2;
inline constexpr std::uint8_t story = 4;
inline constexpr std::uint8_t payload = 8;  ///< It is dropped.
}  // namespace change

/// Threads: guarded by the queue's lock, but for `journal` and `batch`, which belong to the one that writes.
struct MemoryQueue::Journaling {
  /// Of a slot.
  struct Place {
    std::int64_t number = 0;  // The row's; 0: none.
    std::uint64_t end_order = 0;
    std::uint32_t previous = none;  // Among those that have changes.
    std::uint32_t next = none;
    std::uint8_t changes = 0;
  };
  /// Somebody who waits for a batch; on the waiting thread's stack.
  struct Waiter {
    std::uint64_t batch = 0;
    bool arrives = false;  // Waits for new jobs of the batch, not for the rest.
    bool done = false;
    Result<void> answer = success();
    Waiter* next = nullptr;
  };

  /// Room for what `jobs` jobs and `keys` keys leave behind when they go: afterwards noting it cannot throw.
  void reserve(std::size_t jobs, std::size_t keys) {
    grow(gone, gone.size() + jobs);
    grow(gone_keys, gone_keys.size() + keys);
  }
  void mark(std::uint32_t slot, std::uint8_t changes) {
    auto& place = places[slot];
    if (place.changes == 0) {
      place.previous = last_changed;
      place.next = none;
      (last_changed == none ? first_changed : places[last_changed].next) = slot;
      last_changed = slot;
    }
    place.changes |= changes;
  }
  void unmark(std::uint32_t slot) {
    auto& place = places[slot];
    if (place.changes == 0) return;
    (place.previous == none ? first_changed : places[place.previous].next) = place.next;
    (place.next == none ? last_changed : places[place.next].previous) = place.previous;
    place.changes = 0;
  }
  void note_end(std::uint32_t slot) { places[slot].end_order = ++last_end; }
  /// The slot's job is no more.
  void leave(std::uint32_t slot) {
    unmark(slot);
    if (places[slot].number != 0) gone.push_back(places[slot].number);
    places[slot] = Place{};
  }
  void leave_key(std::uint32_t key) {
    if (key_numbers[key] != 0) gone_keys.push_back(key_numbers[key]);
  }
  bool has_changes() const { return first_changed != none || !gone.empty() || !gone_keys.empty(); }

  std::unique_ptr<Journal> journal;
  JournalBatch batch;

  Slab<Place> places;              // By slot.
  Slab<std::int64_t> key_numbers;  // By the key's number: its row's.
  std::uint32_t first_changed = none;
  std::uint32_t last_changed = none;
  std::vector<std::int64_t> gone;  // Rows to be removed.
  std::vector<std::int64_t> gone_keys;
  std::int64_t last_number = 0;
  std::int64_t last_key = 0;
  std::uint64_t last_end = 0;

  std::uint64_t collecting = 1;  // The batch that changes go into now.
  bool writing = false;          // Somebody writes the one before.
  Waiter* waiters = nullptr;
  std::condition_variable written;

 private:
  static void grow(std::vector<std::int64_t>& list, std::size_t count) {
    if (list.capacity() < count) list.reserve(std::max(count, list.capacity() * 2));
  }
};

// Inline, as every call of a queue without a journal passes here.
inline void MemoryQueue::mark(std::uint32_t slot, std::uint8_t changes) {
  if (journaling_) [[unlikely]]
    journaling_->mark(slot, changes);
}
inline Result<void> MemoryQueue::settled(std::unique_lock<std::mutex>& lock) {
  if (!journaling_) [[likely]]
    return success();
  return settle_done(lock);
}

}  // namespace gf::queue
