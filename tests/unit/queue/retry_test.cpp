#include "queue/retry.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

using gf::Status;
using gf::queue::backoff_bound_us;
using gf::queue::backoff_us;
using gf::queue::is_retryable;
using gf::queue::max_delay_us;
using gf::queue::RetryPolicy;
using gf::queue::RetryRule;

TEST_CASE("golden: the bound doubles from the base to the cap") {
  const RetryPolicy policy{.max_attempts = 9, .base_us = 100, .cap_us = 1000};
  const std::vector<std::int64_t> bounds = {100, 200, 400, 800, 1000, 1000};
  for (std::uint32_t failures = 1; failures <= bounds.size(); ++failures) {
    CHECK(backoff_bound_us(policy, failures) == bounds[failures - 1]);
  }
}

TEST_CASE("property: a wait is uniform from 0 to the bound, both included") {
  const RetryPolicy policy{.max_attempts = 9, .base_us = 3, .cap_us = 1000};
  std::mt19937_64 random(7);
  std::vector<int> counts(4);
  constexpr int draws = 40'000;
  for (int draw = 0; draw < draws; ++draw) {
    const auto wait_us = backoff_us(policy, 1, random());
    REQUIRE(wait_us >= 0);
    REQUIRE(wait_us <= 3);
    ++counts[static_cast<std::size_t>(wait_us)];
  }
  // Six standard deviations of a binomial count around its mean: sqrt(40000 * 1/4 * 3/4) is 87.
  for (const int count : counts) CHECK(std::abs(count - draws / 4) < 6 * 87);
}

TEST_CASE("the ends of the random numbers give the ends of the range, at the largest policy too") {
  const RetryPolicy largest{.max_attempts = 1000, .base_us = max_delay_us, .cap_us = max_delay_us};
  CHECK(backoff_us(largest, 1000, 0) == 0);
  CHECK(backoff_us(largest, 1000, ~std::uint64_t{0}) == max_delay_us);
  const RetryPolicy none{.max_attempts = 2, .base_us = 0, .cap_us = 0};
  CHECK(backoff_us(none, 1, ~std::uint64_t{0}) == 0);
  const RetryPolicy grows{.max_attempts = 1000, .base_us = 1, .cap_us = max_delay_us};
  CHECK(backoff_bound_us(grows, 1000) == max_delay_us);
  CHECK(backoff_bound_us(grows, 51) == max_delay_us);
  CHECK(backoff_bound_us(grows, 50) == max_delay_us / 2);
}

TEST_CASE("a status is retried as the table says, unless a rule says otherwise") {
  CHECK(is_retryable(Status::network_error, {}));
  CHECK_FALSE(is_retryable(Status::invalid_argument, {}));
  CHECK_FALSE(is_retryable(Status::network_error, {{Status::network_error, RetryRule::never}}));
  CHECK(is_retryable(Status::invalid_argument, {{Status::invalid_argument, RetryRule::retry}}));
  CHECK_FALSE(is_retryable(static_cast<Status>(777), {}));
}

TEST_CASE("policies out of range are refused by name") {
  const auto message = [](RetryPolicy policy) {
    const auto checked = gf::queue::check(policy);
    REQUIRE(checked.has_error());
    CHECK(checked.error().status == Status::invalid_argument);
    return checked.error().message;
  };
  CHECK(message({.max_attempts = 0}).starts_with("max_attempts is 0"));
  CHECK(message({.max_attempts = 1001}).starts_with("max_attempts is 1001"));
  CHECK(message({.base_us = -1}).starts_with("base_us is -1"));
  CHECK(message({.base_us = 2, .cap_us = 1}).starts_with("base_us is 2"));
  CHECK(message({.base_us = 0, .cap_us = -1}).starts_with("cap_us is -1"));
  CHECK(message({.cap_us = max_delay_us + 1}).starts_with("cap_us is"));
  CHECK(gf::queue::check(RetryPolicy{}).has_value());
}
