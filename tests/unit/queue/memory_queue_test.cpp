#include "queue/memory_queue.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

using gf::JobId;
using gf::Status;
using gf::queue::Entry;
using gf::queue::Lease;
using gf::queue::MemoryQueue;
using gf::queue::Payload;
using gf::queue::Priority;

namespace {

Entry entry_of(std::uint64_t number, Priority priority = Priority::normal) {
  return {JobId{1, number}, priority, nullptr};
}

std::optional<Lease> take(MemoryQueue& queue, std::int64_t now_us = 0, std::int64_t lease_us = 100) {
  return queue.reserve(0, lease_us, [now_us] { return now_us; });
}

std::uint64_t take_number(MemoryQueue& queue) {
  const auto lease = take(queue);
  REQUIRE(lease.has_value());
  return lease->entry.id.low;
}

}  // namespace

TEST_CASE("a lane is served in order, and only while those above it are empty") {
  MemoryQueue queue(10);
  REQUIRE(queue.push(entry_of(1, Priority::low)).has_value());
  REQUIRE(queue.push(entry_of(2, Priority::normal)).has_value());
  REQUIRE(queue.push(entry_of(3, Priority::normal)).has_value());
  REQUIRE(queue.push(entry_of(4, Priority::high)).has_value());
  CHECK(queue.counts().waiting[1] == 2);
  CHECK(take_number(queue) == 4);
  CHECK(take_number(queue) == 2);
  CHECK(take_number(queue) == 3);
  CHECK(take_number(queue) == 1);
  CHECK_FALSE(take(queue).has_value());
  CHECK(queue.counts().leased == 4);
}

TEST_CASE("the limit counts what waits, exactly, and a refusal changes nothing") {
  MemoryQueue queue(2);
  REQUIRE(queue.push(entry_of(1)).has_value());
  REQUIRE(queue.push(entry_of(2)).has_value());
  const auto full = queue.push(entry_of(3));
  CHECK(full.error().status == Status::queue_full);
  CHECK(full.error().message.starts_with("2 jobs"));
  const auto lease = take(queue);
  CHECK(queue.push(entry_of(3)).has_value());
  CHECK(queue.push(entry_of(4)).error().status == Status::queue_full);
  CHECK(queue.counts().waiting[1] == 2);
}

TEST_CASE("a job is in the queue once, also while it is taken") {
  MemoryQueue queue(10);
  REQUIRE(queue.push(entry_of(1)).has_value());
  CHECK(queue.push(entry_of(1)).error().status == Status::already_exists);
  const auto lease = take(queue);
  CHECK(queue.push(entry_of(1)).error().status == Status::already_exists);
  REQUIRE(queue.complete(*lease).has_value());
  CHECK(queue.push(entry_of(1)).has_value());
}

TEST_CASE("a lease that ran out is another's, and what its first holder says is refused") {
  MemoryQueue queue(10);
  REQUIRE(queue.push(entry_of(1)).has_value());
  const auto first = take(queue, 1000, 100);
  REQUIRE(first.has_value());
  CHECK(first->expires_at_us == 1100);
  CHECK(first->attempt == 1);
  CHECK(queue.requeue_expired(1099) == 0);
  REQUIRE(queue.extend(*first, 1200).has_value());
  CHECK(queue.requeue_expired(1199) == 0);
  CHECK(queue.requeue_expired(1200) == 1);
  CHECK(queue.extend(*first, 9999).error().status == Status::lease_lost);
  CHECK(queue.complete(*first).error().status == Status::lease_lost);
  const auto second = take(queue, 1300, 100);
  REQUIRE(second.has_value());
  CHECK(second->fencing_token > first->fencing_token);
  CHECK(second->attempt == 2);
  CHECK(queue.complete(*first).error().status == Status::lease_lost);
  CHECK(queue.abandon(*first).error().status == Status::lease_lost);
  CHECK(queue.complete(*second).has_value());
  CHECK(queue.complete(*second).error().status == Status::lease_lost);
}

TEST_CASE("jobs whose leases ran out come back in the order in which they were taken, before those that wait") {
  MemoryQueue queue(10);
  for (std::uint64_t number = 1; number <= 4; ++number) REQUIRE(queue.push(entry_of(number)).has_value());
  take(queue);
  take(queue);
  const auto kept = queue.reserve(0, 1000, [] { return std::int64_t{0}; });
  CHECK(queue.requeue_expired(100) == 2);
  CHECK(take_number(queue) == 1);
  CHECK(take_number(queue) == 2);
  CHECK(take_number(queue) == 4);
}

TEST_CASE("a job that is abandoned is the next, and one that waits can be removed once") {
  MemoryQueue queue(10);
  REQUIRE(queue.push(entry_of(1)).has_value());
  REQUIRE(queue.push(entry_of(2)).has_value());
  const auto lease = take(queue);
  CHECK_FALSE(queue.remove(JobId{1, 1}).has_value());  // It is taken.
  REQUIRE(queue.abandon(*lease).has_value());
  CHECK(take_number(queue) == 1);
  CHECK(queue.remove(JobId{1, 2}).has_value());
  CHECK_FALSE(queue.remove(JobId{1, 2}).has_value());
  CHECK_FALSE(take(queue).has_value());
}

TEST_CASE("a closed queue takes nothing, hands nothing out, and can be emptied") {
  MemoryQueue queue(10);
  REQUIRE(queue.push(entry_of(1, Priority::low)).has_value());
  REQUIRE(queue.push(entry_of(2)).has_value());
  const auto lease = take(queue);
  CHECK_FALSE(queue.drain().has_value());  // Not closed yet.
  queue.close();
  CHECK(queue.is_closed());
  CHECK(queue.push(entry_of(3)).error().status == Status::shutting_down);
  CHECK_FALSE(take(queue).has_value());
  CHECK(queue.drain()->id.low == 1);
  CHECK_FALSE(queue.drain().has_value());
  CHECK(queue.complete(*lease).has_value());  // A lease goes on.
}

TEST_CASE("who waits is woken by a job, by the end of its time and by the closing") {
  MemoryQueue queue(10);
  const auto now = [] { return std::int64_t{0}; };
  const auto begun = std::chrono::steady_clock::now();
  CHECK_FALSE(queue.reserve(2000, 1, now).has_value());
  CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::microseconds(2000));
  std::atomic<int> taken{0};
  std::vector<std::thread> waiters;
  for (int index = 0; index < 3; ++index) {
    waiters.emplace_back([&] {
      while (queue.reserve(std::nullopt, 1, now)) ++taken;
    });
  }
  for (std::uint64_t number = 0; number < 5; ++number) REQUIRE(queue.push(entry_of(number)).has_value());
  while (taken < 5) std::this_thread::yield();
  queue.close();
  for (auto& waiter : waiters) waiter.join();
  CHECK(taken == 5);
}

TEST_CASE("property: it agrees with a plain list of what waits, whatever is done in whatever order") {
  for (std::uint32_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    MemoryQueue queue(20);
    std::array<std::deque<std::uint64_t>, 3> model;
    std::map<std::uint64_t, std::pair<Lease, std::size_t>> taken;
    std::uint64_t next = 0;
    for (int round = 0; round < 500; ++round) {
      const auto waiting = model[0].size() + model[1].size() + model[2].size();
      switch (random() % 5) {
        case 0:
        case 1: {
          const auto lane = random() % 3;
          const auto pushed = queue.push(entry_of(++next, static_cast<Priority>(lane)));
          REQUIRE(pushed.has_value() == (waiting < 20));
          if (pushed) model[lane].push_back(next);
          break;
        }
        case 2: {
          const auto lease = take(queue);
          REQUIRE(lease.has_value() == (waiting > 0));
          if (!lease) break;
          const std::size_t lane = !model[0].empty() ? 0 : !model[1].empty() ? 1 : 2;
          REQUIRE(lease->entry.id.low == model[lane].front());
          model[lane].pop_front();
          taken.emplace(lease->entry.id.low, std::pair{*lease, lane});
          break;
        }
        case 3: {
          if (taken.empty()) break;
          const auto [lease, lane] = taken.begin()->second;
          taken.erase(taken.begin());
          if (random() % 2 == 0) {
            REQUIRE(queue.complete(lease).has_value());
          } else {
            REQUIRE(queue.abandon(lease).has_value());
            model[lane].push_front(lease.entry.id.low);
          }
          break;
        }
        default: {
          const auto number = next == 0 ? 0 : random() % next + 1;
          bool there = false;
          for (auto& lane : model) there = std::erase(lane, number) != 0 || there;
          REQUIRE(queue.remove(JobId{1, number}).has_value() == there);
          break;
        }
      }
      const auto counts = queue.counts();
      for (std::size_t lane = 0; lane < 3; ++lane) REQUIRE(counts.waiting[lane] == model[lane].size());
      REQUIRE(counts.leased == taken.size());
    }
  }
}
