#include "base/mix.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>

TEST_CASE("golden: the first draws of SplitMix64 from the state 1234567") {
  // Published with the reference implementation (Vigna, 2015).
  std::uint64_t state = 1234567;
  for (const std::uint64_t expected : {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                       4593380528125082431u, 16408922859458223821u}) {
    CHECK(gf::split_mix(state += gf::split_mix_step) == expected);
  }
}
