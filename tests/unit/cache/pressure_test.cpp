#include "cache/pressure.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>

using gf::cache::PressureGauge;
using gf::cache::PressureLevel;

TEST_CASE("a level rises at once, by as many as there are, and falls after its hold, one threshold after the other") {
  PressureGauge gauge;
  CHECK_FALSE(gauge.update(0.79, 0).has_value());
  CHECK(gauge.update(0.80, 1) == PressureLevel::moderate);
  CHECK(gauge.update(0.99, 2) == PressureLevel::critical);
  CHECK_FALSE(gauge.update(0.93, 3).has_value());  // Within the margin of critical.
  CHECK_FALSE(gauge.update(0.50, 1000).has_value());
  CHECK_FALSE(gauge.update(0.50, 250'999).has_value());
  CHECK(gauge.update(0.50, 251'000) == PressureLevel::none);
  CHECK(gauge.update(0.92, 252'000) == PressureLevel::high);
}

TEST_CASE("one looks every 10 ms within a fifth of the limit, and every 50 ms further off") {
  PressureGauge gauge;
  gauge.update(0.7999, 0);
  CHECK(gauge.period_us() == 50'000);
  gauge.update(0.80, 0);
  CHECK(gauge.period_us() == 10'000);
}

TEST_CASE("flapping across a threshold raises one event, whatever the phase") {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    PressureGauge gauge;
    int events = 0;
    // Within the margin around high's threshold.
    for (std::int64_t now_us = 0; now_us < 10'000'000; now_us += 10'000) {
      const double share = 0.90 + 0.049 * (static_cast<double>(random() % 2001) / 1000 - 1);
      if (gauge.update(share, now_us)) ++events;
    }
    CHECK(events <= 2);  // To moderate perhaps, then to high.
    CHECK(gauge.level() == PressureLevel::high);
  }
}

TEST_CASE("wide swings that are shorter than the hold raise no event after the first") {
  PressureGauge gauge;
  int events = 0;
  for (std::int64_t now_us = 0; now_us < 10'000'000; now_us += 10'000) {
    if (gauge.update(now_us / 10'000 % 20 == 0 ? 0.95 : 0.1, now_us)) ++events;
  }
  CHECK(events == 1);
}

TEST_CASE("property: a level is never below what the share says, nor above what it was within the hold") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    PressureGauge gauge;
    std::int64_t now_us = 0;
    double share = 0;
    std::int64_t low_since_us = 0;
    for (int step = 0; step < 2000; ++step) {
      now_us += static_cast<std::int64_t>(random() % 60'000);
      if (random() % 30 == 0) share = static_cast<double>(random() % 1100) / 1000;
      gauge.update(share, now_us);
      const auto least = share >= 0.97   ? PressureLevel::critical
                         : share >= 0.90 ? PressureLevel::high
                         : share >= 0.80 ? PressureLevel::moderate
                                         : PressureLevel::none;
      REQUIRE(gauge.level() >= least);
      if (share >= 0.75) low_since_us = now_us + 1;
      if (now_us - low_since_us >= 400'000) REQUIRE(gauge.level() == PressureLevel::none);
    }
  }
}
