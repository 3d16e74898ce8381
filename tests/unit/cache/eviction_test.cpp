#include "cache/eviction.hpp"

#include "bench/traces.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <utility>
#include <vector>

using namespace gf::cache;

namespace {

using Numbers = std::vector<EvictionPolicy::Number>;

/// Seconds of loading that a trace costs under a policy.
double replay(const gf::bench::Trace& trace, EvictionPolicy policy) {
  const auto out = gf::bench::replay_policy(trace, std::move(policy));
  REQUIRE(out.most_bytes <= trace.capacity);
  return out.loaded_s;
}

}  // namespace

TEST_CASE("each value function orders as its name says") {
  const UseHistory fresh{.bytes = 100, .reload_us = 1000, .last_use = 90, .uses_short = 1, .uses_long = 1, .gap = 5.0};
  auto old = fresh;
  old.last_use = 10;
  CHECK(keep_recent(fresh, 100) > keep_recent(old, 100));
  CHECK(keep_by_age(fresh, 100) == doctest::Approx(1.0));  // 10 us a byte, 10 requests ago.
  CHECK(keep_by_age(old, 100) == doctest::Approx(10.0 / 90));
  CHECK(keep_by_uses_short(fresh, 120) == doctest::Approx(5.0));  // A half-life of 30 requests,
  CHECK(keep_by_uses_long(fresh, 390) == doctest::Approx(5.0));   // and of 300.
  auto costly = fresh;
  costly.reload_us = 2000;
  for (const auto value : {keep_by_age, keep_by_uses_short, keep_by_uses_long, keep_by_next_use}) {
    CHECK(value(costly, 100) == doctest::Approx(2 * value(fresh, 100)));
    costly.bytes = 200;
    CHECK(value(costly, 100) == doctest::Approx(value(fresh, 100)));
    costly.bytes = 100;
  }
  // In a loop of 20 requests what was just used is due last.
  const UseHistory just{.bytes = 100, .reload_us = 1000, .last_use = 99, .gap = 20.0};
  const UseHistory soon{.bytes = 100, .reload_us = 1000, .last_use = 82, .gap = 20.0};
  CHECK(keep_by_next_use(soon, 100) > keep_by_next_use(just, 100));
}

TEST_CASE("victims are as few as cover what is missing, the least worth first") {
  EvictionPolicy policy({keep_recent});
  for (const EvictionPolicy::Number entry : {1, 2, 3, 4}) policy.used(entry, 100 * entry, 1, 1 << 20);
  Numbers order = {4, 3, 2, 1};
  policy.order(order);
  CHECK(order == Numbers{1, 2, 3, 4});
  CHECK(policy.victims({1, 2, 3, 4}, 100) == Numbers{1});
  CHECK(policy.victims({1, 2, 3, 4}, 250) == Numbers{1, 2});
  // 1 and 2 are not needed any more once 3 goes.
  CHECK(policy.victims({1, 2, 3, 4}, 301) == Numbers{1, 3});
  CHECK(policy.victims({1, 2, 4}, 400) == Numbers{4});
  CHECK(policy.victims({}, 1).empty());
  CHECK(policy.victims({1, 2}, 5000) == Numbers{1, 2});
  Numbers unknown = {1, 77};
  policy.order(unknown);
  CHECK(unknown == Numbers{77, 1});
  policy.forget(1);
  policy.order(unknown);
  CHECK(unknown == Numbers{1, 77});
}

TEST_CASE("property: victims cover what is missing and none of them could stay") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    EvictionPolicy policy;
    std::vector<std::uint64_t> bytes;
    Numbers all;
    for (std::uint64_t entry = 0; entry < 12; ++entry) {
      bytes.push_back(random() % 1000 + 1);
      all.push_back(entry);
    }
    for (int use = 0; use < 40; ++use) {
      const auto entry = use < 12 ? static_cast<std::uint64_t>(use) : random() % 12;
      policy.used(entry, bytes[entry], static_cast<double>(random() % 100), 3000);
    }
    std::uint64_t sum = 0;
    for (const auto one : bytes) sum += one;
    const auto missing = random() % sum + 1;
    const auto gone = policy.victims(all, missing);
    std::uint64_t freed = 0;
    for (const auto entry : gone) freed += bytes[entry];
    REQUIRE(freed >= missing);
    for (const auto entry : gone) REQUIRE(freed - bytes[entry] < missing);
  }
}

TEST_CASE("the same requests always give the same order") {
  const auto trace = gf::bench::traces(3, 400).front();
  CHECK(replay(trace, EvictionPolicy()) == replay(trace, EvictionPolicy()));
}

TEST_CASE("over the traces the policy costs at most 0.85 of what LRU loads, and on none more than 1.03") {
  double ours = 0;
  double lru = 0;
  for (const auto& trace : gf::bench::traces(1, 1500)) {
    CAPTURE(trace.name);
    const auto a = replay(trace, EvictionPolicy());
    const auto b = replay(trace, EvictionPolicy({keep_recent}));
    CHECK(a <= 1.03 * b);
    ours += a;
    lru += b;
  }
  CHECK(ours <= 0.85 * lru);
}

TEST_CASE("a capacity that falls and entries that are larger than it do no harm") {
  EvictionPolicy policy;
  std::mt19937_64 random(11);
  for (int step = 0; step < 3000; ++step) {
    const auto capacity = random() % 5000;
    policy.used(random() % 40, random() % 6000, static_cast<double>(random() % 1000), capacity);
    if (step % 50 == 0) policy.forget(random() % 40);
  }
  Numbers all(40);
  for (std::size_t at = 0; at < all.size(); ++at) all[at] = at;
  policy.order(all);
  CHECK(std::set<EvictionPolicy::Number>(all.begin(), all.end()).size() == 40);
}
