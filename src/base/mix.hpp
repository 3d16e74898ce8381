// Numbers that look random, made from others: for hash tables, jitter and fallbacks; not for secrets.
#pragma once

#include <cstdint>

namespace gf {

/// What SplitMix64 adds to its state at each draw: the golden ratio's fraction in 64 bits.
inline constexpr std::uint64_t split_mix_step = 0x9E3779B97F4A7C15u;

/// SplitMix64's output function (Steele, Lea and Flood 2014): of neighbouring states it makes numbers without pattern.
constexpr std::uint64_t split_mix(std::uint64_t state) noexcept {
  state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
  state = (state ^ (state >> 27)) * 0x94D049BB133111EBu;
  return state ^ (state >> 31);
}

}  // namespace gf
