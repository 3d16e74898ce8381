#include "cache/ledger.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

using gf::Status;
using gf::cache::Ledger;
using gf::cache::MemoryKind;

TEST_CASE("promised and held bytes are counted by device and kind, with a peak") {
  Ledger ledger;
  REQUIRE(ledger.reserve(0, MemoryKind::weights, 100).has_value());
  CHECK(ledger.account(0).reserved[0] == 100);
  ledger.commit(0, MemoryKind::weights, 60);
  CHECK(ledger.account(0).committed[0] == 60);
  CHECK(ledger.account(0).reserved[0] == 40);
  ledger.release(0, MemoryKind::weights, 40, false);
  REQUIRE(ledger.reserve(0, MemoryKind::activations, 10).has_value());
  CHECK(ledger.account(0).total == 70);
  CHECK(ledger.account(0).peak == 100);
  REQUIRE(ledger.reserve(1, MemoryKind::staging, 5).has_value());
  CHECK(ledger.account(1).total == 5);
  CHECK(ledger.account(0).total == 70);
  ledger.release(0, MemoryKind::weights, 60, true);
  ledger.release(0, MemoryKind::activations, 10, false);
  CHECK(ledger.account(0).total == 0);
  CHECK(ledger.account(0).peak == 100);
}

TEST_CASE("a promise that would pass the limit is refused, names the bytes, and changes nothing") {
  Ledger ledger;
  ledger.set_budget(0, 1000);
  REQUIRE(ledger.reserve(0, MemoryKind::weights, 1000).has_value());
  const auto refused = ledger.reserve(0, MemoryKind::staging, 1);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::over_budget);
  CHECK(refused.error().message == "1 bytes were asked of device 0, which holds 1000 of at most 1000");
  CHECK(ledger.account(0).total == 1000);
  ledger.set_budget(0, 500);  // Nothing is taken back, nothing new is granted.
  CHECK(ledger.account(0).total == 1000);
  CHECK(ledger.reserve(0, MemoryKind::staging, 0).has_error());
  ledger.set_budget(0, 0);
  CHECK(ledger.reserve(0, MemoryKind::staging, 1).has_value());
}

TEST_CASE("absurd sums, kinds and devices overflow nothing") {
  Ledger ledger;
  const auto most = std::numeric_limits<std::uint64_t>::max();
  CHECK(ledger.reserve(0, MemoryKind::weights, most).error().status == Status::over_budget);
  CHECK(ledger.reserve(0, static_cast<MemoryKind>(3), 1).error().status == Status::invalid_argument);
  CHECK(ledger.reserve(Ledger::max_devices, MemoryKind::weights, 1).error().status == Status::invalid_argument);
  ledger.commit(Ledger::max_devices, MemoryKind::weights, 1);
  ledger.release(0, static_cast<MemoryKind>(99), 1, true);
  ledger.release(0, MemoryKind::weights, 1, true);  // Given back, but never taken.
  CHECK(ledger.account(0).total == 0);
  CHECK(ledger.account(Ledger::max_devices).total == 0);
}

TEST_CASE("the limit holds, whoever asks at the same time") {
  Ledger ledger;
  ledger.set_budget(0, 1000);
  std::atomic<bool> passed{false};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 2000; ++round) {
        if (!ledger.reserve(0, MemoryKind::activations, 300)) continue;
        ledger.commit(0, MemoryKind::activations, 300);
        if (ledger.account(0).total > 1000) passed = true;
        ledger.release(0, MemoryKind::activations, 300, true);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK_FALSE(passed);
  CHECK(ledger.account(0).total == 0);
  CHECK(ledger.account(0).peak <= 1000);
}

TEST_CASE("property: random reserves, commits and releases agree with plain sums") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Ledger ledger;
    auto* const tiles = ledger.owner(0, "tiles");
    auto* const trees = ledger.owner(0, "trees");
    // The model: what each owner was promised and holds, one limit, one peak.
    struct Held {
      std::array<std::uint64_t, 3> promised{};
      std::array<std::uint64_t, 3> held{};
    };
    std::array<Held, 2> model;
    std::uint64_t limit = gf::cache::no_limit;
    std::uint64_t peak = 0;
    std::uint64_t refusals = 0;
    const auto total = [&] {
      std::uint64_t sum = 0;
      for (const auto& one : model) {
        for (std::size_t kind = 0; kind < 3; ++kind) sum += one.promised[kind] + one.held[kind];
      }
      return sum;
    };
    for (int step = 0; step < 2000; ++step) {
      const auto who = random() % 2;
      const auto kind = random() % 3;
      const auto name = static_cast<MemoryKind>(kind);
      auto& one = model[who];
      const gf::cache::MemoryTag tag(ledger, 0, who == 0 ? tiles : trees, gf::cache::MemoryStage::sampling);
      switch (random() % 5) {
        case 0:
        case 1: {
          const auto bytes = random() % 1000;
          const bool fits = total() <= limit && bytes <= limit - total();
          const auto answer = ledger.reserve(0, name, bytes);
          REQUIRE(answer.has_value() == fits);
          if (fits) {
            one.promised[kind] += bytes;
          } else {
            ++refusals;
          }
          break;
        }
        case 2: {
          if (one.promised[kind] == 0) break;
          const auto bytes = random() % (one.promised[kind] + 1);
          ledger.commit(0, name, bytes);
          one.promised[kind] -= bytes;
          one.held[kind] += bytes;
          break;
        }
        case 3: {
          const bool held = random() % 2 == 0;
          auto& from = held ? one.held[kind] : one.promised[kind];
          const auto bytes = random() % (from + 1);
          ledger.release(0, name, bytes, held);
          from -= bytes;
          break;
        }
        default:
          if (random() % 10 == 0) {
            limit = random() % 20000 + 1;
            ledger.set_budget(0, limit);
          }
      }
      peak = std::max(peak, total());
      const auto account = ledger.account(0);
      REQUIRE(account.total == total());
      REQUIRE(account.peak == peak);
      REQUIRE(account.limit == limit);
      REQUIRE(account.refusals == refusals);
      for (std::size_t at = 0; at < 3; ++at) {
        REQUIRE(account.reserved[at] == model[0].promised[at] + model[1].promised[at]);
        REQUIRE(account.committed[at] == model[0].held[at] + model[1].held[at]);
      }
      for (std::size_t owner = 0; owner < 2; ++owner) {
        const auto split = Ledger::account(*(owner == 0 ? tiles : trees));
        std::uint64_t sum = 0;
        for (std::size_t at = 0; at < 3; ++at) {
          REQUIRE(split.bytes[at] == model[owner].promised[at] + model[owner].held[at]);
          sum += split.bytes[at];
        }
        REQUIRE(split.total == sum);
        REQUIRE(split.by_stage[3] == static_cast<std::int64_t>(sum));
      }
    }
  }
}

TEST_CASE("the limit is the least of budget, configured fraction and what is free outside") {
  Ledger ledger;
  CHECK(ledger.account(0).limit == gf::cache::no_limit);
  ledger.set_budget(0, 300);
  ledger.set_configured(0, 200);
  ledger.set_outside(0, 250);
  CHECK(ledger.limit(0) == 200);
  ledger.set_outside(0, 0);  // Nothing is free: not the same as no limit.
  CHECK(ledger.limit(0) == 0);
  CHECK(ledger.reserve(0, MemoryKind::weights, 1).error().status == Status::over_budget);
  ledger.set_outside(0, gf::cache::no_limit);
  ledger.set_configured(0, gf::cache::no_limit);
  CHECK(ledger.limit(0) == 300);
  ledger.set_budget(0, 0);
  CHECK(ledger.account(0).limit == gf::cache::no_limit);
}

TEST_CASE("a refusal has its numbers as fields") {
  Ledger ledger;
  ledger.set_budget(2, 100);
  REQUIRE(ledger.reserve(2, MemoryKind::weights, 90).has_value());
  const auto refused = ledger.reserve(2, MemoryKind::weights, 20);
  REQUIRE(refused.has_error());
  std::string fields;
  for (const auto& field : refused.error().context) fields += field.key + "=" + field.value + " ";
  CHECK(fields == "device=2 needed_bytes=20 held_bytes=90 limit_bytes=100 ");
  // And to the thread that was refused, for who sees no fields.
  std::thread([] { CHECK(Ledger::take_refused() == 0); }).join();
  CHECK(Ledger::take_refused() == 20);
  CHECK(Ledger::take_refused() == 0);
}

TEST_CASE("a limit that falls below what is held wakes who waits, and one that does not leaves them asleep") {
  Ledger ledger;
  REQUIRE(ledger.reserve(0, MemoryKind::weights, 100).has_value());
  const auto seen = ledger.news();
  ledger.set_budget(0, 100);
  ledger.set_outside(0, 500);
  CHECK(ledger.news() == seen);
  std::thread waiter([&] { ledger.wait_for_news(seen, 60'000'000); });
  ledger.set_budget(0, 99);
  waiter.join();
  CHECK(ledger.news() != seen);
  CHECK(ledger.excess(0) == 1);
}

TEST_CASE("a watch has the peak and the growth of its time alone, and holds its limit") {
  Ledger ledger;
  REQUIRE(ledger.reserve(0, MemoryKind::weights, 500).has_value());
  ledger.release(0, MemoryKind::weights, 400, false);
  const auto watch = ledger.begin_watch(0, 50);
  REQUIRE(watch.has_value());
  CHECK(ledger.reserve(0, MemoryKind::activations, 51).has_error());
  REQUIRE(ledger.reserve(0, MemoryKind::activations, 50).has_value());
  ledger.release(0, MemoryKind::activations, 30, false);
  const auto watched = ledger.end_watch(0, *watch).value();
  CHECK(watched.begun == 100);
  CHECK(watched.ended == 120);
  CHECK(watched.peak == 150);
  CHECK(ledger.reserve(0, MemoryKind::activations, 1000).has_value());
  CHECK_FALSE(ledger.end_watch(0, *watch).has_value());  // It is over.
  const auto next = ledger.begin_watch(0);
  CHECK(next != watch);
  CHECK_FALSE(ledger.end_watch(0, *watch).has_value());
  CHECK(ledger.end_watch(0, *next).has_value());
  for (std::uint32_t place = 0; place < Ledger::max_watches; ++place) REQUIRE(ledger.begin_watch(0).has_value());
  CHECK_FALSE(ledger.begin_watch(0).has_value());
  CHECK_FALSE(ledger.begin_watch(Ledger::max_devices).has_value());
}

TEST_CASE("owners are made once, whoever names them at the same time, and get what is taken under their tag") {
  Ledger ledger;
  std::vector<std::thread> threads;
  std::array<std::array<Ledger::Owner*, 50>, 4> made{};
  for (std::size_t thread = 0; thread < made.size(); ++thread) {
    threads.emplace_back([&, thread] {
      for (std::size_t name = 0; name < 50; ++name) {
        made[thread][name] = ledger.owner(0, "model " + std::to_string(name));
        const gf::cache::MemoryTag tag(ledger, 0, made[thread][name], gf::cache::MemoryStage::loading);
        REQUIRE(ledger.reserve(0, MemoryKind::weights, 10).has_value());
        // Another device and another ledger are none of this owner's.
        REQUIRE(ledger.reserve(1, MemoryKind::weights, 1000).has_value());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& row : made) CHECK(row == made[0]);
  const auto owners = ledger.owners(0);
  CHECK(owners.size() == 50);
  for (const auto& owner : owners) {
    CHECK(owner.total == 40);
    CHECK(owner.peak == 40);
    CHECK(owner.by_stage[1] == 40);
  }
  CHECK(ledger.account(0).total == 2000);
  CHECK(ledger.owner(Ledger::max_devices, "none") == nullptr);
}

TEST_CASE("reclaimers are asked in turn until they gave enough, and not once they are gone") {
  struct Idle final : gf::cache::Reclaimer {
    std::uint64_t reclaim(std::uint32_t, std::uint64_t bytes) noexcept override {
      asked = bytes;
      return std::min(bytes, has);
    }
    std::uint64_t reclaimable(std::uint32_t) const noexcept override { return has; }
    std::uint64_t has = 0;
    std::uint64_t asked = 0;
  };
  Ledger ledger;
  auto first = std::make_shared<Idle>();
  const auto second = std::make_shared<Idle>();
  first->has = 30;
  second->has = 100;
  ledger.add_reclaimer(first);
  ledger.add_reclaimer(second);
  CHECK(ledger.reclaimable(0) == 130);
  CHECK(ledger.reclaim(0, 20) == 20);
  CHECK(second->asked == 0);
  CHECK(ledger.reclaim(0, 50) == 50);
  CHECK(second->asked == 20);
  first.reset();
  CHECK(ledger.reclaim(0, 50) == 50);
  CHECK(second->asked == 50);
}

TEST_CASE("budgets that change meanwhile are never passed by what comes after them") {
  Ledger ledger;
  ledger.set_budget(0, 1000);
  std::atomic<bool> over{false};
  std::atomic<bool> stop{false};
  std::thread frames([&] {
    for (std::uint64_t frame = 0; !stop; ++frame) ledger.set_budget(0, frame % 2 == 0 ? 1000 : 700);
  });
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 3000; ++round) {
        const gf::cache::MemoryTag tag(ledger, 0, ledger.owner(0, "shared"), gf::cache::MemoryStage::decoding);
        if (!ledger.reserve(0, MemoryKind::activations, 240)) continue;
        if (ledger.total(0) > 1000) over = true;
        ledger.release(0, MemoryKind::activations, 240, false);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  stop = true;
  frames.join();
  CHECK_FALSE(over);
  CHECK(ledger.account(0).peak <= 1000);
  CHECK(ledger.total(0) == 0);
  CHECK(ledger.owners(0).at(0).total == 0);
}
