// Finds a job's slot by its id.
#pragma once

#include "base/ids.hpp"
#include "base/mix.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gf::queue {

/// An open-addressing table of slots, whose ids stay with the owner. Each place keeps half of the id's hash as well, so
/// that a look at it does not need the job: 8 bytes a place, at most seven tenths full.
///
/// Source: linear probing with backward-shift deletion (Knuth, The Art of Computer Programming vol. 3, 6.4, algorithm
/// R). Threads: not synchronised; its owner guards it.
class IdIndex {
 public:
  static constexpr std::uint32_t none = 0xFFFF'FFFF;

  /// Room for `count` ids. Throws bad_alloc, and is as before then.
  void reserve(std::size_t count) {
    if (count * 10 <= places_.size() * 7) return;
    std::size_t size = places_.empty() ? 64 : places_.size();
    while (count * 10 > size * 7) size *= 2;
    std::vector<Place> old(size);
    old.swap(places_);
    for (const auto& place : old) {
      if (place.slot != none) put(place);
    }
  }

  /// The id is not in, and there is room.
  void insert(const JobId& id, std::uint32_t slot) { put({slot, hash_of(id)}); }

  /// id_of(slot) gives the id of a slot that is in.
  template <class IdOf>
  std::uint32_t find(const JobId& id, IdOf&& id_of) const {
    if (places_.empty()) return none;
    const auto hash = hash_of(id);
    for (auto at = home(hash); places_[at].slot != none; at = (at + 1) & (places_.size() - 1)) {
      if (places_[at].hash == hash && id_of(places_[at].slot) == id) return places_[at].slot;
    }
    return none;
  }

  /// The id is in, for that slot.
  void erase(const JobId& id, std::uint32_t slot) {
    const auto mask = places_.size() - 1;
    auto hole = home(hash_of(id));
    while (places_[hole].slot != slot) hole = (hole + 1) & mask;
    for (auto at = (hole + 1) & mask; places_[at].slot != none; at = (at + 1) & mask) {
      // What may stand in the hole: whose home is not between the hole and its place.
      if (((at - home(places_[at].hash)) & mask) >= ((at - hole) & mask)) {
        places_[hole] = places_[at];
        hole = at;
      }
    }
    places_[hole] = Place{};
  }

 private:
  struct Place {
    std::uint32_t slot = none;
    std::uint32_t hash = 0;
  };

  static std::uint32_t hash_of(const JobId& id) {
    // Ids of one maker differ in time and random bits; hosts may bring ids that differ in any.
    return static_cast<std::uint32_t>(split_mix(id.low ^ (id.high * split_mix_step)));
  }
  std::size_t home(std::uint32_t hash) const { return hash & (places_.size() - 1); }
  void put(const Place& place) {
    auto at = home(place.hash);
    while (places_[at].slot != none) at = (at + 1) & (places_.size() - 1);
    places_[at] = place;
  }

  std::vector<Place> places_;
};

}  // namespace gf::queue
