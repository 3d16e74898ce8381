#include "base/backoff.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>

using gf::backoff_bound_us;

TEST_CASE("the bound doubles with each failure up to the cap, and no further") {
  CHECK(backoff_bound_us(10, 1000, 1) == 10);
  CHECK(backoff_bound_us(10, 1000, 2) == 20);
  CHECK(backoff_bound_us(10, 1000, 7) == 640);
  CHECK(backoff_bound_us(10, 1000, 8) == 1000);
  CHECK(backoff_bound_us(10, 1000, 4'000'000'000u) == 1000);
  CHECK(backoff_bound_us(2000, 1000, 1) == 1000);
  CHECK(backoff_bound_us(0, 1000, 50) == 0);
  CHECK(backoff_bound_us(10, 0, 3) == 0);
}

TEST_CASE("no cap makes it leave the range of its type") {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  CHECK(backoff_bound_us(1, most, 63) == std::int64_t{1} << 62);
  CHECK(backoff_bound_us(1, most, 64) == most);
  CHECK(backoff_bound_us(3, most, 1000) == most);
  CHECK(backoff_bound_us(most, most, 2) == most);
}
