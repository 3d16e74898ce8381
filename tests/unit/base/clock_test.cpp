#include "base/clock.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <ctime>

TEST_CASE("the monotonic clock never steps back and moves on") {
  const auto& clock = gf::system_clock();
  const auto first = clock.now_us();
  auto last = first;
  // Bounded by readings, not by time: two million of them take longer than a microsecond on any machine.
  for (int i = 0; i < 2'000'000 && last == first; ++i) {
    const auto now = clock.now_us();
    REQUIRE(now >= last);
    last = now;
  }
  CHECK(last > first);
}

TEST_CASE("the other clock is the machine's, in microseconds since the Unix epoch") {
  const auto before = static_cast<std::int64_t>(std::time(nullptr));
  const auto us = gf::system_clock().unix_us();
  const auto after = static_cast<std::int64_t>(std::time(nullptr));
  CHECK(us / 1'000'000 >= before - 1);  // time() may read a coarser clock, which lags by a tick.
  CHECK(us / 1'000'000 <= after + 1);
}

TEST_CASE("there is one system clock") { CHECK(&gf::system_clock() == &gf::system_clock()); }
