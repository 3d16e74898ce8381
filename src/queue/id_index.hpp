// Finds a job's slot by its id.
#pragma once

#include "base/ids.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gf::queue {

/// An open-addressing table of slots, whose ids stay with the owner: 4 bytes a place, at most seven tenths full.
///
/// Source: linear probing with backward-shift deletion (Knuth, The Art of Computer Programming vol. 3, 6.4, algorithm
/// R). Threads: not synchronised; its owner guards it.
class IdIndex {
 public:
  static constexpr std::uint32_t none = 0xFFFF'FFFF;

  /// Room for `count` ids. Throws bad_alloc, and is as before then. id_of(slot) gives the id of a slot that is in.
  template <class IdOf>
  void reserve(std::size_t count, IdOf&& id_of) {
    if (count * 10 <= places_.size() * 7) return;
    std::size_t size = places_.empty() ? 64 : places_.size();
    while (count * 10 > size * 7) size *= 2;
    std::vector<std::uint32_t> old(size, none);
    old.swap(places_);
    for (const auto slot : old) {
      if (slot != none) insert(id_of(slot), slot);
    }
  }

  /// The id is not in, and there is room.
  void insert(const JobId& id, std::uint32_t slot) {
    auto at = home(id);
    while (places_[at] != none) at = (at + 1) & (places_.size() - 1);
    places_[at] = slot;
  }

  template <class IdOf>
  std::uint32_t find(const JobId& id, IdOf&& id_of) const {
    if (places_.empty()) return none;
    for (auto at = home(id); places_[at] != none; at = (at + 1) & (places_.size() - 1)) {
      if (id_of(places_[at]) == id) return places_[at];
    }
    return none;
  }

  /// The id is in.
  template <class IdOf>
  void erase(const JobId& id, IdOf&& id_of) {
    const auto mask = places_.size() - 1;
    auto hole = home(id);
    while (!(id_of(places_[hole]) == id)) hole = (hole + 1) & mask;
    for (auto at = (hole + 1) & mask; places_[at] != none; at = (at + 1) & mask) {
      // What may stand in the hole: whose home is not between the hole and its place.
      if (((at - home(id_of(places_[at]))) & mask) >= ((at - hole) & mask)) {
        places_[hole] = places_[at];
        hole = at;
      }
    }
    places_[hole] = none;
  }

  std::uint64_t bytes() const { return places_.capacity() * sizeof(std::uint32_t); }

 private:
  std::size_t home(const JobId& id) const {
    // Ids of one maker differ in time and random bits; hosts may bring ids that differ in any. The finaliser of
    // SplitMix64 (Steele, Lea and Flood 2014).
    auto mixed = id.low ^ (id.high * 0x9E3779B97F4A7C15u);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return static_cast<std::size_t>(mixed ^ (mixed >> 31)) & (places_.size() - 1);
  }

  std::vector<std::uint32_t> places_;
};

}  // namespace gf::queue
