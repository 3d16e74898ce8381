// A heap of slots by key, in which every slot knows its place, so that any can be taken out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace gf::queue {

/// A binary heap, smallest key first, of (key, slot). Among equal keys the order is not defined. The owner keeps each
/// slot's place in it and passes `place(slot) -> std::uint32_t&`; the heap writes there, and `nowhere` when a slot
/// leaves. Costs: push, update and remove O(log n), top O(1). Nothing but push and reserve allocates.
///
/// Threads: not synchronised; its owner guards it.
template <class Key>
class IndexHeap {
 public:
  static constexpr std::uint32_t nowhere = 0xFFFF'FFFF;
  struct Entry {
    Key key;
    std::uint32_t slot;
  };

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  const Entry& top() const { return entries_.front(); }
  /// Room for `count` entries; afterwards as many pushes cannot throw. Grows by doubling, so that calls one by one stay
  /// cheap.
  void reserve(std::size_t count) {
    if (entries_.capacity() < count)
      entries_.reserve(count < entries_.capacity() * 2 ? entries_.capacity() * 2 : count);
  }
  const std::vector<Entry>& entries() const { return entries_; }

  template <class Place>
  void push(Key key, std::uint32_t slot, Place&& place) {
    entries_.push_back({key, slot});
    rise(entries_.size() - 1, place);
  }

  template <class Place>
  void remove(std::uint32_t slot, Place&& place) {
    const std::size_t at = std::exchange(place(slot), nowhere);
    const auto last = entries_.back();
    entries_.pop_back();
    if (at == entries_.size()) return;
    entries_[at] = last;
    place(last.slot) = static_cast<std::uint32_t>(at);
    settle(at, place);
  }

  /// Gives a slot that is in the heap another key.
  template <class Place>
  void update(Key key, std::uint32_t slot, Place&& place) {
    const std::size_t at = place(slot);
    entries_[at].key = key;
    settle(at, place);
  }

 private:
  template <class Place>
  void settle(std::size_t at, Place& place) {
    if (at > 0 && entries_[at].key < entries_[(at - 1) / 2].key) {
      rise(at, place);
    } else {
      sink(at, place);
    }
  }

  template <class Place>
  void rise(std::size_t at, Place& place) {
    const auto entry = entries_[at];
    while (at > 0) {
      const auto parent = (at - 1) / 2;
      if (!(entry.key < entries_[parent].key)) break;
      put(at, entries_[parent], place);
      at = parent;
    }
    put(at, entry, place);
  }

  template <class Place>
  void sink(std::size_t at, Place& place) {
    const auto entry = entries_[at];
    for (;;) {
      auto child = 2 * at + 1;
      if (child >= entries_.size()) break;
      if (child + 1 < entries_.size() && entries_[child + 1].key < entries_[child].key) ++child;
      if (!(entries_[child].key < entry.key)) break;
      put(at, entries_[child], place);
      at = child;
    }
    put(at, entry, place);
  }

  template <class Place>
  void put(std::size_t at, const Entry& entry, Place& place) {
    entries_[at] = entry;
    place(entry.slot) = static_cast<std::uint32_t>(at);
  }

  std::vector<Entry> entries_;
};

}  // namespace gf::queue
