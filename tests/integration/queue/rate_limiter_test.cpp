// The rate limiter in the process and in Redis, side by side and beside an exact model.
#include "queue/rate_limiter.hpp"
#include "subjects.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <string>

using namespace gf;
using namespace gf::queue;
using gf::test::first_us;
using gf::test::TestClock;

namespace {

constexpr std::int64_t second_us = 1'000'000;

class MemoryLimiter {
 public:
  explicit MemoryLimiter(const RateLimits& limits) : limiter_(MemoryRateLimiter::create(limits, clock_).value()) {}
  RateLimiter& limiter() { return *limiter_; }
  void set_now(std::int64_t us) { clock_.now = us; }
  std::size_t kept() { return limiter_->bucket_count(); }

 private:
  TestClock clock_;
  std::unique_ptr<MemoryRateLimiter> limiter_;
};

class RedisLimiter {
 public:
  /// real_time: by the server's own clock, and not by set_now.
  explicit RedisLimiter(const RateLimits& limits, bool real_time = false) {
    RedisRateLimiterOptions options;
    options.url = test::OneServer::url();
    options.limits = limits;
    // A foreign key, which only a test's server knows.
    if (!real_time) options.test_clock = "tonumber(redis.call('GET', 'clock') or '1700000000000000')";
    limiter_ = RedisRateLimiter::create(std::move(options)).value();
    client_ = redis::Client::create(test::OneServer::url()).value();
  }
  ~RedisLimiter() { (void)client_->call({"FLUSHALL"}); }
  RateLimiter& limiter() { return *limiter_; }
  void set_now(std::int64_t us) { REQUIRE(client_->call({"SET", "clock", std::to_string(us)}).has_value()); }
  redis::Client& client() { return *client_; }

 private:
  std::unique_ptr<RedisRateLimiter> limiter_;
  std::unique_ptr<redis::Client> client_;
};

TokenBucketAnswer take(RateLimiter& limiter, const RateQuestion& question = {}) {
  const auto answer = limiter.take(question);
  REQUIRE_MESSAGE(answer.has_value(), answer.error().message);
  return answer.value();
}

/// A bucket that counts a level, in units of an interval's microseconds.
struct Level {
  std::int64_t interval_us = 1;
  std::int64_t capacity_us = 1;
  std::int64_t level_us = 1;
  std::int64_t last_us = 0;
  void fill(std::int64_t now_us) {
    level_us = std::min(capacity_us, level_us + (now_us - last_us));
    last_us = now_us;
  }
};

}  // namespace

#define BOTH MemoryLimiter, RedisLimiter

TEST_CASE_TEMPLATE("property: three buckets at a time agree with exact levels, all or none is taken", Subject, BOTH) {
  for (std::uint32_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto draw = [&random](std::int64_t low, std::int64_t high) {
      return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    };
    const auto limits_of = [&] {
      return TokenBucketLimits{static_cast<std::uint32_t>(1), draw(1, 5000), static_cast<std::uint32_t>(draw(2, 8))};
    };
    RateLimits limits{limits_of(), limits_of(), limits_of(), {{"gold", limits_of()}}};
    Subject subject(limits);
    std::map<std::string, Level> levels;
    const auto level = [&](const std::string& name, const TokenBucketLimits& of) -> Level& {
      const auto [found, fresh] = levels.try_emplace(name);
      if (fresh) found->second = {of.period_us, of.burst * of.period_us, of.burst * of.period_us, first_us};
      return found->second;
    };
    std::int64_t now = first_us;
    for (int step = 0; step < 400; ++step) {
      now += draw(0, 6000);
      subject.set_now(now);
      RateQuestion question{std::string(1, static_cast<char>('p' + draw(0, 1))),
                            std::string(1, static_cast<char>('a' + draw(0, 2))),
                            {},
                            static_cast<std::uint32_t>(draw(1, 2))};
      if (question.user == "b") question.user_class = "gold";
      const auto answer = take(subject.limiter(), question);
      const std::array<Level*, 3> concerned = {
          &level("global", *limits.global), &level("q" + question.queue, *limits.per_queue),
          &level("u" + question.user, question.user == "b" ? limits.user_classes["gold"] : *limits.per_user)};
      bool admitted = true;
      std::int64_t wait_us = 0;
      for (auto* each : concerned) {
        auto& of = *each;
        of.fill(now);
        const auto lack_us = question.tokens * of.interval_us - of.level_us;
        admitted = admitted && lack_us <= 0;
        wait_us = std::max(wait_us, lack_us);
      }
      std::int64_t remaining = 1 << 30;
      for (auto* each : concerned) {
        auto& of = *each;
        if (admitted) of.level_us -= question.tokens * of.interval_us;
        remaining = std::min(remaining, of.level_us / of.interval_us);
      }
      REQUIRE(answer.admitted == admitted);
      REQUIRE(answer.retry_after_us == (admitted ? 0 : wait_us));
      REQUIRE(answer.remaining == remaining);
    }
  }
}

TEST_CASE_TEMPLATE("who asks often is not starved: what is refused costs nothing", Subject, BOTH) {
  Subject subject({.per_user = TokenBucketLimits{1, second_us, 1}});
  REQUIRE(take(subject.limiter()).admitted);
  for (int ask = 1; ask < 100; ++ask) {
    subject.set_now(first_us + ask * second_us / 100);
    CHECK_FALSE(take(subject.limiter()).admitted);
  }
  subject.set_now(first_us + second_us);
  CHECK(take(subject.limiter()).admitted);
}

TEST_CASE_TEMPLATE("times are microseconds, and parts of a token count", Subject, BOTH) {
  Subject subject({.per_user = TokenBucketLimits{3, second_us, 1}});
  REQUIRE(take(subject.limiter()).admitted);
  CHECK(take(subject.limiter()).retry_after_us == 333'334);
  subject.set_now(first_us + 333'333);
  CHECK(take(subject.limiter()).retry_after_us == 1);
  subject.set_now(first_us + 333'334);
  CHECK(take(subject.limiter()).admitted);
}

TEST_CASE_TEMPLATE("a clock that goes back counts as one that stands, and costs one refill at most", Subject, BOTH) {
  Subject subject({.per_user = TokenBucketLimits{1, second_us, 2}});
  subject.set_now(first_us + 3600 * second_us);
  REQUIRE(take(subject.limiter(), {{}, {}, {}, 2}).admitted);
  subject.set_now(first_us);
  CHECK(take(subject.limiter(), {{}, {}, {}, 2}).retry_after_us == 2 * second_us);
  subject.set_now(first_us + 2 * second_us);
  CHECK(take(subject.limiter(), {{}, {}, {}, 2}).admitted);
}

TEST_CASE_TEMPLATE("no refill, and more than a burst, are refused as limits and as questions", Subject, BOTH) {
  CHECK(check(RateLimits{.global = TokenBucketLimits{0, second_us, 1}}).has_error());
  CHECK(check(RateLimits{.user_classes = {{"x", {1, 0, 1}}}}).has_error());
  Subject subject({.global = TokenBucketLimits{1, second_us, 3}});
  CHECK(subject.limiter().take({{}, {}, {}, 4}).error().status == Status::invalid_argument);
  CHECK(subject.limiter().take({{}, {}, {}, 0}).error().status == Status::invalid_argument);
  CHECK(subject.limiter().take({{}, std::string("a\0", 2), {}, 1}).error().status == Status::invalid_argument);
  CHECK(subject.limiter().configure({.global = TokenBucketLimits{1, second_us, 0}}).has_error());
  CHECK(take(subject.limiter(), {{}, {}, {}, 3}).admitted);
  // A limit that rises holds from the next question on.
  REQUIRE(subject.limiter().configure({.global = TokenBucketLimits{1000, second_us, 3}}).has_value());
  CHECK(take(subject.limiter()).retry_after_us == 1000);
  REQUIRE(subject.limiter().configure({}).has_value());
  CHECK(take(subject.limiter()).admitted);
}

TEST_CASE("in the process a bucket is kept until it is full, and no longer") {
  MemoryLimiter subject({.per_user = TokenBucketLimits{1, second_us, 2}});
  for (int user = 0; user < 100'000; ++user) {
    subject.set_now(first_us + user * 100);
    REQUIRE(take(subject.limiter(), {{}, "user " + std::to_string(user), {}, 1}).admitted);
    REQUIRE(subject.kept() <= 10'001);  // Those of the last second.
  }
}

TEST_CASE("in Redis a bucket's key lives until it is full, rounded up to a millisecond") {
  RedisLimiter subject({.per_user = TokenBucketLimits{1, 60 * second_us, 3}}, true);
  REQUIRE(take(subject.limiter(), {{}, "u", {}, 2}).admitted);
  const auto key = "{gameforge:rate}:user:u";
  const auto left = subject.client().call({"PTTL", key}).value().integer;
  CHECK(left <= 120'000);
  CHECK(left > 60'000);
  // A foreign value is a bucket that nobody used.
  REQUIRE(subject.client().call({"SET", key, "somebody's"}).has_value());
  CHECK(take(subject.limiter(), {{}, "u", {}, 3}).admitted);
}
