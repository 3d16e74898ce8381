#include "error/breaker_registry.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using gf::Status;
using gf::error::BreakerOptions;
using gf::error::BreakerRegistry;
using gf::error::BreakerState;

TEST_CASE("one name is one breaker") {
  const auto registry = BreakerRegistry::create({}).value();
  const auto one = registry->get("redis", 0).value();
  CHECK(registry->get("redis", 0).value() == one);
  CHECK(registry->get("database", 0).value() != one);
  CHECK(registry->size() == 2);
}

TEST_CASE("100000 names leave the registry at its limit, and an open breaker and a held one survive") {
  BreakerOptions options;
  options.open_us = 3'600'000'000;
  options.max_open_us = 3'600'000'000;
  const auto registry = BreakerRegistry::create(options, 64).value();
  {
    const auto sick = registry->get("sick", 0).value();
    for (int index = 0; index < 5; ++index) sick->allow(0).failure(0);
    REQUIRE(sick->state(0) == BreakerState::open);
  }
  const auto held = registry->get("held", 0).value();
  for (int index = 0; index < 100'000; ++index) {
    const auto made = registry->get("key " + std::to_string(index), index);
    REQUIRE(made.has_value());
    REQUIRE(registry->size() <= 64);
  }
  CHECK(registry->get("sick", 100'000).value()->state(100'000) == BreakerState::open);
  CHECK(registry->get("held", 100'000).value() == held);
}

TEST_CASE("where all are in use one more is refused, and bad options make no registry") {
  const auto registry = BreakerRegistry::create({}, 2).value();
  const auto one = registry->get("1", 0).value();
  const auto two = registry->get("2", 0).value();
  CHECK(registry->get("3", 0).error().status == Status::over_budget);
  CHECK(registry->get("1", 0).value() == one);
  BreakerOptions bad;
  bad.probes = 0;
  CHECK(BreakerRegistry::create(bad).error().status == Status::invalid_argument);
  CHECK(BreakerRegistry::create({}, 0).error().status == Status::invalid_argument);
}
