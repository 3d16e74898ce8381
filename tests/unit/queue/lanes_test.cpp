#include "queue/lanes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

using gf::queue::lane_count;
using gf::queue::LaneOrder;
using gf::queue::LaneRules;
using gf::queue::Lanes;
using gf::queue::Priority;

namespace {

constexpr std::int64_t second_us = 1'000'000;

/// Lanes with slots and users enough for a test.
struct Fixture {
  Lanes lanes;
  std::uint64_t sequence = 0;
  explicit Fixture(const LaneRules& rules = {}) {
    lanes.reserve(2000);
    lanes.reserve_users(20);
    lanes.set_rules(rules, 0);
  }
  void push(std::uint32_t slot, Priority lane, std::uint32_t user = 0, std::int64_t since_us = 0) {
    lanes.push(slot, lane, user, ++sequence, since_us);
  }
};

}  // namespace

TEST_CASE("the printed order of twenty mixed jobs: lanes from above, users in turn, each user's in order") {
  Fixture fixture;
  // Slot, lane, user.
  constexpr std::array<std::array<std::uint32_t, 3>, 20> jobs = {{
      {0, 2, 0},  {1, 1, 0},  {2, 1, 0},  {3, 1, 0},  {4, 0, 1},  {5, 1, 1},  {6, 1, 2},
      {7, 2, 2},  {8, 0, 0},  {9, 0, 0},  {10, 0, 1}, {11, 1, 1}, {12, 2, 0}, {13, 2, 1},
      {14, 1, 2}, {15, 0, 2}, {16, 1, 0}, {17, 0, 1}, {18, 2, 2}, {19, 1, 1},
  }};
  for (const auto& [slot, lane, user] : jobs) fixture.push(slot, static_cast<Priority>(lane), user);
  std::vector<std::uint32_t> order;
  for (auto slot = fixture.lanes.take(1); slot != Lanes::none; slot = fixture.lanes.take(1)) order.push_back(slot);
  CHECK(order == std::vector<std::uint32_t>{4, 8, 15, 10, 9,  17,             // high: users 1, 0, 2, 1, 0, 1
                                            1, 5, 6,  2,  11, 14, 3, 19, 16,  // normal: users 0, 1, 2, 0, ...
                                            0, 7, 13, 12, 18});               // low: users 0, 2, 1, 0, 2
}

TEST_CASE("low jobs start within their bound under an endless load of high ones") {
  LaneRules rules;
  rules.low_max_wait_us = 60 * second_us;
  rules.normal_max_wait_us = 20 * second_us;
  Fixture fixture(rules);
  fixture.push(1, Priority::low, 0, 0);
  fixture.push(2, Priority::normal, 0, 0);
  std::uint32_t slot = 100;
  std::map<std::uint32_t, std::int64_t> started;
  for (std::int64_t now_us = 0; now_us <= 70 * second_us; now_us += second_us) {
    fixture.push(slot, Priority::high, 1, now_us);
    fixture.push(slot + 1, Priority::high, 1, now_us);
    slot += 2;
    started[fixture.lanes.take(now_us)] = now_us;
  }
  REQUIRE(started.contains(1));
  REQUIRE(started.contains(2));
  CHECK(started[1] == 61 * second_us);
  CHECK(started[2] == 21 * second_us);
}

TEST_CASE("a backlog of old low jobs takes at most every second turn from the lanes above") {
  Fixture fixture;
  for (std::uint32_t slot = 0; slot < 10; ++slot) fixture.push(slot, Priority::low);
  for (std::uint32_t slot = 10; slot < 20; ++slot) fixture.push(slot, Priority::high, 1, 3600 * second_us);
  int high = 0;
  for (int turn = 0; turn < 10; ++turn) high += fixture.lanes.take(3600 * second_us) >= 10 ? 1 : 0;
  CHECK(high == 5);
}

TEST_CASE("weighted lanes are served in the proportion of their weights, and evenly") {
  LaneRules rules;
  rules.order = LaneOrder::weighted;
  rules.weights = {5, 1, 1};
  Fixture fixture(rules);
  for (std::uint32_t slot = 0; slot < 300; ++slot) fixture.push(slot, static_cast<Priority>(slot % 3));
  std::string order;
  for (int turn = 0; turn < 7; ++turn) order += std::to_string(fixture.lanes.take(0) % 3);
  CHECK(order == "0010200");  // nginx' own example of 5, 1, 1: a a b a c a a.
}

TEST_CASE("a user at the limit of running jobs is passed over, and keeps the place of every job") {
  LaneRules rules;
  rules.user_running_limit = 1;
  Fixture fixture(rules);
  for (std::uint32_t slot = 0; slot < 3; ++slot) fixture.push(slot, Priority::normal, 0);
  fixture.push(3, Priority::normal, 1);
  CHECK(fixture.lanes.take(0) == 0);
  CHECK(fixture.lanes.take(0) == 3);
  CHECK(fixture.lanes.take(0) == Lanes::none);
  CHECK(fixture.lanes.waiting(Priority::normal) == 2);
  fixture.lanes.ended(0);
  CHECK(fixture.lanes.take(0) == 1);
  CHECK(fixture.lanes.take(0) == Lanes::none);
}

TEST_CASE("a limited user's jobs wait in place while others go on, and none is charged for what was refused") {
  LaneRules rules;
  rules.user_start_rate = gf::queue::TokenBucketLimits{.tokens_per_period = 1, .period_us = second_us, .burst = 1};
  Fixture fixture(rules);
  for (std::uint32_t slot = 0; slot < 3; ++slot) fixture.push(slot, Priority::normal, 0);
  CHECK(fixture.lanes.take(0) == 0);
  for (int again = 0; again < 5; ++again) CHECK(fixture.lanes.take(second_us - 1) == Lanes::none);
  CHECK(fixture.lanes.next_unpark_us() == second_us);
  CHECK(fixture.lanes.take(second_us) == 1);
  // A new limit is judged by at once.
  rules.user_start_rate->tokens_per_period = 1000;
  fixture.lanes.set_rules(rules, second_us + 1);
  CHECK(fixture.lanes.take(second_us + 1) == Lanes::none);
  CHECK(fixture.lanes.next_unpark_us() == second_us + 1001);
  CHECK(fixture.lanes.take(second_us + 1001) == 2);
}

TEST_CASE("property: it agrees with plain lists, whatever is done in whatever order") {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    LaneRules rules;
    rules.normal_max_wait_us = 50;
    rules.low_max_wait_us = seed % 3 == 0 ? 0 : 120;
    rules.user_running_limit = seed % 2 == 0 ? 2 : 0;
    Fixture fixture(rules);
    struct Job {
      std::uint32_t slot;
      std::uint32_t user;
      std::uint64_t sequence;
      std::int64_t since_us;
    };
    std::array<std::vector<Job>, lane_count> waiting;         // In no order.
    std::array<std::deque<std::uint32_t>, lane_count> rings;  // Users in the order of their turns.
    std::map<std::uint32_t, std::uint32_t> running;           // By user.
    std::vector<std::pair<Job, std::size_t>> taken;
    std::vector<std::uint32_t> free_slots;
    for (std::uint32_t slot = 0; slot < 300; ++slot) free_slots.push_back(slot);
    bool last_was_aged = false;
    std::int64_t now_us = 0;
    const auto parked = [&](std::uint32_t user) {
      return rules.user_running_limit != 0 && running[user] >= rules.user_running_limit;
    };
    const auto first_of = [&](std::size_t lane, std::uint32_t user) {
      auto best = waiting[lane].end();
      for (auto job = waiting[lane].begin(); job != waiting[lane].end(); ++job) {
        if (job->user == user && (best == waiting[lane].end() || job->sequence < best->sequence)) best = job;
      }
      return best;
    };
    const auto refresh = [&](std::uint32_t user) {  // Is the user in each ring as it should be?
      for (std::size_t lane = 0; lane < lane_count; ++lane) {
        const bool wanted = !parked(user) && first_of(lane, user) != waiting[lane].end();
        const auto at = std::ranges::find(rings[lane], user);
        if (wanted && at == rings[lane].end()) rings[lane].push_back(user);
        if (!wanted && at != rings[lane].end()) rings[lane].erase(at);
      }
    };
    for (int step = 0; step < 1500; ++step) {
      now_us += random() % 5;
      switch (random() % 6) {
        case 0:
        case 1: {
          if (free_slots.empty()) break;
          const Job job{free_slots.back(), static_cast<std::uint32_t>(random() % 4), fixture.sequence + 1, now_us};
          free_slots.pop_back();
          const auto lane = random() % lane_count;
          fixture.push(job.slot, static_cast<Priority>(lane), job.user, now_us);
          waiting[lane].push_back(job);
          refresh(job.user);
          break;
        }
        case 2:
        case 3: {
          auto lane = lane_count;
          for (std::size_t at = 0; at < lane_count && lane == lane_count; ++at) {
            if (!rings[at].empty()) lane = at;
          }
          const auto slot = fixture.lanes.take(now_us);
          if (lane == lane_count) {
            REQUIRE(slot == Lanes::none);
            break;
          }
          REQUIRE(slot != Lanes::none);
          bool aged = false;
          std::int64_t oldest_us = 0;
          const std::array<std::int64_t, lane_count> bounds{0, rules.normal_max_wait_us, rules.low_max_wait_us};
          const auto strict = lane;
          for (auto at = strict + 1; at < lane_count && !last_was_aged; ++at) {
            if (bounds[at] == 0) continue;
            for (const auto user : rings[at]) {
              const auto due_us = first_of(at, user)->since_us + bounds[at];
              if (due_us >= now_us || (aged && due_us >= oldest_us)) continue;
              aged = true;
              lane = at;
              oldest_us = due_us;
            }
          }
          last_was_aged = aged;
          auto job = std::ranges::find_if(waiting[lane], [&](const Job& of) { return of.slot == slot; });
          REQUIRE(job != waiting[lane].end());
          const auto got = *job;
          if (aged) {
            REQUIRE(got.since_us + bounds[lane] == oldest_us);
          } else {
            REQUIRE(got.user == rings[lane].front());
          }
          REQUIRE(job == first_of(lane, got.user));
          waiting[lane].erase(job);
          std::erase(rings[lane], got.user);  // Behind the others, if it has more.
          refresh(got.user);
          ++running[got.user];
          refresh(got.user);
          taken.emplace_back(got, lane);
          break;
        }
        case 4: {
          if (taken.empty()) break;
          const auto at = static_cast<std::ptrdiff_t>(random() % taken.size());
          const auto [job, lane] = taken[static_cast<std::size_t>(at)];
          taken.erase(taken.begin() + at);
          --running[job.user];
          refresh(job.user);
          fixture.lanes.ended(job.user);
          if (random() % 2 == 0) {
            free_slots.push_back(job.slot);
          } else {  // Back to its place.
            fixture.lanes.push(job.slot, static_cast<Priority>(lane), job.user, job.sequence, job.since_us);
            waiting[lane].push_back(job);
            refresh(job.user);
          }
          break;
        }
        default: {
          const auto lane = random() % lane_count;
          if (waiting[lane].empty()) break;
          const auto at = static_cast<std::ptrdiff_t>(random() % waiting[lane].size());
          const auto job = waiting[lane][static_cast<std::size_t>(at)];
          waiting[lane].erase(waiting[lane].begin() + at);
          fixture.lanes.remove(job.slot);
          free_slots.push_back(job.slot);
          refresh(job.user);
          break;
        }
      }
      for (std::size_t lane = 0; lane < lane_count; ++lane) {
        REQUIRE(fixture.lanes.waiting(static_cast<Priority>(lane)) == waiting[lane].size());
        std::optional<std::int64_t> oldest_us;
        for (const auto& job : waiting[lane]) {
          if (first_of(lane, job.user)->slot == job.slot)
            oldest_us = std::min(oldest_us.value_or(job.since_us), job.since_us);
        }
        const auto slot = fixture.lanes.oldest_slot(static_cast<Priority>(lane));
        REQUIRE((slot == Lanes::none) == !oldest_us.has_value());
        if (oldest_us) {
          const auto job = std::ranges::find_if(waiting[lane], [&](const Job& of) { return of.slot == slot; });
          REQUIRE(job->since_us == *oldest_us);
        }
      }
    }
  }
}
