// The breaker through the C ABI: that it trips, probes and closes as the room's tests say, by what hosts can pass.
#include "gameforge/gameforge.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

class Breaker {
 public:
  explicit Breaker(const gf_breaker_options& options) { REQUIRE(gf_breaker_open(&options, &handle) == GF_OK); }
  ~Breaker() { CHECK(gf_breaker_close(handle) == GF_OK); }
  Breaker(const Breaker&) = delete;
  Breaker& operator=(const Breaker&) = delete;

  /// Whether a call was let through, which ends with `status`; `wait_us` is how long a refusal lasts.
  bool call(gf_status status, std::int64_t retry_after_us = 0, std::int64_t* wait_us = nullptr) const {
    gf_breaker_permit permit;
    if (gf_breaker_allow(handle, &permit, wait_us) != GF_OK) return false;
    return gf_breaker_report(handle, &permit, status, retry_after_us) == GF_OK;
  }
  gf_breaker_info info() const {
    gf_breaker_info info = GF_BREAKER_INFO_INIT;
    REQUIRE(gf_breaker_describe(handle, &info) == GF_OK);
    return info;
  }

  gf_breaker* handle = nullptr;
};

gf_breaker_options open_for(std::int64_t open_us) {
  gf_breaker_options options = GF_BREAKER_OPTIONS_INIT;
  options.open_us = open_us;
  return options;
}

}  // namespace

TEST_CASE("breaker: five failures in a row open it, probes close it, and a refusal says how long") {
  const Breaker breaker(open_for(200'000));
  for (int failure = 0; failure < 5; ++failure) CHECK(breaker.call(GF_ERR_NETWORK));
  std::int64_t wait_us = 0;
  CHECK_FALSE(breaker.call(GF_OK, 0, &wait_us));
  CHECK(gf_last_error_status() == GF_ERR_BREAKER_OPEN);
  CHECK(wait_us > 0);
  CHECK(wait_us <= 251'000);
  CHECK(breaker.info().state == GF_BREAKER_OPEN);
  CHECK(breaker.info().trips == 1);
  CHECK(breaker.info().refused == 1);
  std::this_thread::sleep_for(std::chrono::microseconds(wait_us + 2000));
  CHECK(breaker.info().state == GF_BREAKER_HALF_OPEN);
  CHECK(breaker.call(GF_OK));
  CHECK(breaker.call(GF_OK));
  CHECK(breaker.info().state == GF_BREAKER_CLOSED);
  CHECK(breaker.info().successes == 2);
  CHECK(breaker.info().failures == 5);
}

TEST_CASE("breaker: what says nothing about the service does not count") {
  auto options = open_for(60'000'000);
  const std::uint32_t ignored[1] = {GF_ERR_DATABASE};
  options.ignored = ignored;
  options.ignored_count = 1;
  const Breaker breaker(options);
  for (int round = 0; round < 20; ++round) {
    CHECK(breaker.call(GF_ERR_CANCELLED));
    CHECK(breaker.call(GF_ERR_INVALID_ARGUMENT));
    CHECK(breaker.call(GF_ERR_DATABASE));
  }
  CHECK(breaker.info().not_counted == 60);
  CHECK(breaker.info().state == GF_BREAKER_CLOSED);
  // Where a row of failures is not looked at, their rate alone trips.
  options.failures_in_a_row = UINT32_MAX;
  options.minimum_calls = 8;
  const Breaker by_rate(options);
  for (int round = 0; round < 7; ++round) CHECK(by_rate.call(GF_ERR_TIMED_OUT));
  CHECK(by_rate.info().state == GF_BREAKER_CLOSED);
  CHECK(by_rate.call(GF_ERR_TIMED_OUT));
  CHECK(by_rate.info().state == GF_BREAKER_OPEN);
}

TEST_CASE("breaker: the service's own wish, and an operator's, are kept") {
  const Breaker breaker(open_for(1000));
  std::int64_t wait_us = 0;
  for (int failure = 0; failure < 5; ++failure) CHECK(breaker.call(GF_ERR_NETWORK, 60'000'000));
  CHECK_FALSE(breaker.call(GF_OK, 0, &wait_us));
  CHECK(wait_us > 30'000'000);
  CHECK(gf_breaker_force(breaker.handle, GF_BREAKER_CLOSED) == GF_OK);
  CHECK(breaker.call(GF_OK));
  CHECK(gf_breaker_force(breaker.handle, GF_BREAKER_FORCED_OPEN) == GF_OK);
  CHECK_FALSE(breaker.call(GF_OK));
  CHECK(gf_breaker_force(breaker.handle, GF_BREAKER_FORCED_CLOSED) == GF_OK);
  for (int failure = 0; failure < 50; ++failure) CHECK(breaker.call(GF_ERR_NETWORK));
  CHECK(gf_breaker_force(breaker.handle, GF_BREAKER_DISABLED) == GF_OK);
  CHECK(breaker.call(GF_ERR_NETWORK));
}

TEST_CASE("breaker: permits that were forged, kept too long or reported twice move nothing they should not") {
  const Breaker breaker(open_for(1000));
  gf_breaker_permit old;
  REQUIRE(gf_breaker_allow(breaker.handle, &old, nullptr) == GF_OK);
  for (int failure = 0; failure < 5; ++failure) CHECK(breaker.call(GF_ERR_NETWORK));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  gf_breaker_permit probe;
  REQUIRE(gf_breaker_allow(breaker.handle, &probe, nullptr) == GF_OK);
  CHECK(probe.probe < 16);
  // Of the generation before: no probe's success.
  CHECK(gf_breaker_report(breaker.handle, &old, GF_OK, 0) == GF_OK);
  for (int times = 0; times < 5; ++times) CHECK(gf_breaker_report(breaker.handle, &probe, GF_OK, 0) == GF_OK);
  CHECK(breaker.info().state == GF_BREAKER_HALF_OPEN);  // Two are needed, and one was reported.
  for (std::uint32_t forged = 0; forged < 16; ++forged) {
    const gf_breaker_permit permit = {probe.generation, forged, 12345 + forged, probe.begun_us};
    CHECK(gf_breaker_report(breaker.handle, &permit, GF_OK, 0) == GF_OK);
  }
  CHECK(breaker.info().state == GF_BREAKER_HALF_OPEN);
  CHECK(breaker.call(GF_OK));
  CHECK(breaker.info().state == GF_BREAKER_CLOSED);
}

TEST_CASE("breaker: threads share one, and every call is counted") {
  auto options = open_for(60'000'000);
  options.failures_in_a_row = UINT32_MAX;
  const Breaker breaker(options);
  std::vector<std::thread> threads;
  std::atomic<int> through{0};
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&] {
      for (int call = 0; call < 5000; ++call) through += breaker.call(GF_OK) ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(through == 20000);
  CHECK(breaker.info().successes == 20000);
}
