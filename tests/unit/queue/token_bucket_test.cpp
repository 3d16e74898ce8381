#include "queue/token_bucket.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

using gf::queue::TokenBucket;
using gf::queue::TokenBucketAnswer;
using gf::queue::TokenBucketLimits;

namespace {

constexpr std::int64_t second_us = 1'000'000;

TokenBucket bucket_of(const TokenBucketLimits& limits) {
  auto bucket = TokenBucket::create(limits);
  REQUIRE(bucket.has_value());
  return bucket.value();
}

TokenBucketAnswer take(TokenBucket& bucket, std::int64_t now_us, std::uint32_t tokens = 1) {
  auto answer = bucket.take(now_us, tokens);
  REQUIRE(answer.has_value());
  return answer.value();
}

/// The textbook bucket, which counts a level where ours counts a time: an independent answer to compare with.
struct LevelBucket {
  std::int64_t interval_us;
  std::int64_t capacity_us;  // One token is interval_us of level.
  std::int64_t level_us = capacity_us;
  std::int64_t last_us = 0;

  bool take(std::int64_t now_us, std::uint32_t tokens) {
    level_us = std::min(capacity_us, level_us + (now_us - last_us));
    last_us = now_us;
    if (level_us < tokens * interval_us) return false;
    level_us -= tokens * interval_us;
    return true;
  }
};

}  // namespace

TEST_CASE("golden: 2 tokens a second with a burst of 3, worked by hand") {
  struct Row {
    std::int64_t now_us;
    std::uint32_t tokens;
    bool admitted;
    std::int64_t retry_after_us;
    std::uint32_t remaining;
  };
  const std::vector<Row> rows = {
      {0, 1, true, 0, 2},                 // full: 3, then 2
      {0, 2, true, 0, 0},                 // all that is left
      {0, 1, false, 500'000, 0},          // the next token is half a second away
      {499'999, 1, false, 1, 0},          // a microsecond early
      {500'000, 1, true, 0, 0},           // on time
      {1'250'000, 2, false, 250'000, 1},  // one and a half there: a refusal takes nothing
      {1'250'000, 1, true, 0, 0},         // half a token stays
      {1'500'000, 1, true, 0, 0},
      {60'000'000, 3, true, 0, 0},  // a long pause fills it to the burst, no further
      {60'000'000, 3, false, 1'500'000, 0},
  };
  auto bucket = bucket_of({.tokens_per_period = 2, .period_us = second_us, .burst = 3});
  for (const auto& row : rows) {
    CAPTURE(row.now_us);
    CAPTURE(row.tokens);
    const auto answer = take(bucket, row.now_us, row.tokens);
    CHECK(answer.admitted == row.admitted);
    CHECK(answer.retry_after_us == row.retry_after_us);
    CHECK(answer.remaining == row.remaining);
  }
}

TEST_CASE("property: it agrees with a bucket that counts a level, and never exceeds burst plus rate in any window") {
  for (std::uint32_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);  // A failure prints the seed that repeats it.
    std::mt19937 random(seed);
    const auto draw = [&random](std::int64_t low, std::int64_t high) {
      return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    };
    const auto interval_us = draw(1, 5000);
    const auto burst = static_cast<std::uint32_t>(draw(1, 8));
    auto bucket = bucket_of({.tokens_per_period = 1, .period_us = interval_us, .burst = burst});
    LevelBucket level{.interval_us = interval_us, .capacity_us = burst * interval_us};

    struct Admission {
      std::int64_t at_us;
      std::uint32_t tokens;
    };
    std::deque<Admission> window;  // What was admitted in the last window_us.
    const auto window_us = 10 * interval_us;
    std::int64_t now_us = 0;
    std::int64_t in_window = 0;
    for (int step = 0; step < 2000; ++step) {
      now_us += draw(0, 2 * interval_us);
      const auto tokens = static_cast<std::uint32_t>(draw(1, burst));
      const auto answer = take(bucket, now_us, tokens);
      REQUIRE(answer.admitted == level.take(now_us, tokens));
      REQUIRE(answer.remaining == level.level_us / interval_us);

      if (answer.admitted) {
        window.push_back({now_us, tokens});
        in_window += tokens;
      }
      while (!window.empty() && window.front().at_us <= now_us - window_us) {
        in_window -= window.front().tokens;
        window.pop_front();
      }
      REQUIRE(in_window <= burst + window_us / interval_us);
    }
  }
}

TEST_CASE("a refusal names the shortest wait: a microsecond earlier is refused again, on time is admitted") {
  auto bucket = bucket_of({.tokens_per_period = 3, .period_us = second_us, .burst = 5});
  take(bucket, 7, 4);
  const auto wait_us = take(bucket, 7, 3).retry_after_us;
  REQUIRE(wait_us > 0);
  CHECK_FALSE(take(bucket, 7 + wait_us - 1, 3).admitted);
  CHECK(take(bucket, 7 + wait_us, 3).admitted);
}

TEST_CASE("a rate that does not divide the period is kept from below") {
  auto bucket = bucket_of({.tokens_per_period = 3, .period_us = second_us, .burst = 1});
  take(bucket, 0);
  CHECK(take(bucket, 0).retry_after_us == 333'334);
}

TEST_CASE("a clock that steps back costs one refill of the bucket at most") {
  auto bucket = bucket_of({.tokens_per_period = 1, .period_us = second_us, .burst = 2});
  take(bucket, 3600 * second_us, 2);
  const auto answer = take(bucket, 0, 2);
  CHECK_FALSE(answer.admitted);
  CHECK(answer.retry_after_us == 2 * second_us);
  CHECK(take(bucket, answer.retry_after_us, 2).admitted);
}

TEST_CASE("the largest limits and times overflow nothing") {
  auto bucket = bucket_of({.tokens_per_period = 1, .period_us = TokenBucket::max_refill_us, .burst = 1});
  CHECK(take(bucket, TokenBucket::max_now_us).admitted);
  CHECK(take(bucket, TokenBucket::max_now_us).retry_after_us == TokenBucket::max_refill_us);
}

TEST_CASE("arguments out of range are refused by name and change nothing") {
  struct Row {
    TokenBucketLimits limits;
    std::string named;
  };
  const std::vector<Row> rows = {
      {{.tokens_per_period = 0}, "tokens_per_period is 0"},
      {{.tokens_per_period = 2, .period_us = 1}, "tokens_per_period is 2"},
      {{.period_us = 0}, "period_us is 0"},
      {{.period_us = -1}, "period_us is -1"},
      {{.period_us = TokenBucket::max_refill_us + 1}, "period_us is 1125899906842625"},
      {{.burst = 0}, "burst is 0"},
      {{.period_us = TokenBucket::max_refill_us, .burst = 2}, "burst is 2"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.named);
    const auto bucket = TokenBucket::create(row.limits);
    REQUIRE(bucket.has_error());
    CHECK(bucket.error().status == gf::Status::invalid_argument);
    CHECK(bucket.error().message.starts_with(row.named));
  }

  auto bucket = bucket_of({.burst = 2});
  CHECK(bucket.take(-1).has_error());
  CHECK(bucket.take(TokenBucket::max_now_us + 1).has_error());
  CHECK(bucket.take(0, 0).has_error());
  CHECK(bucket.take(0, 3).has_error());
  CHECK(take(bucket, 0, 2).admitted);
}

TEST_CASE("a rate that rises holds from the next call on, whatever was owed at the old one") {
  const auto slow = gf::queue::TokenRate::create({.tokens_per_period = 1, .period_us = 10 * second_us, .burst = 10});
  const auto fast = gf::queue::TokenRate::create({.tokens_per_period = 100, .period_us = second_us, .burst = 10});
  REQUIRE(slow.has_value());
  REQUIRE(fast.has_value());
  std::int64_t full_at_us = 0;
  REQUIRE(slow.value().take(full_at_us, 1000, 10).value().admitted);
  CHECK(slow.value().take(full_at_us, 1000, 1).value().retry_after_us == 10 * second_us);
  // An empty bucket of the new rate: the next token is a hundredth of a second away, not ten seconds.
  CHECK(fast.value().take(full_at_us, 1000, 1).value().retry_after_us == 10'000);
  CHECK(fast.value().take(full_at_us, 11'000, 1).value().admitted);
}
