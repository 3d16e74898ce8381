#include "cache/ledger.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <limits>
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
  ledger.set_limit(0, 1000);
  REQUIRE(ledger.reserve(0, MemoryKind::weights, 1000).has_value());
  const auto refused = ledger.reserve(0, MemoryKind::staging, 1);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::over_budget);
  CHECK(refused.error().message == "1 bytes were asked of device 0, which holds 1000 of at most 1000");
  CHECK(ledger.account(0).total == 1000);
  ledger.set_limit(0, 500);  // Nothing is taken back, nothing new is granted.
  CHECK(ledger.account(0).total == 1000);
  CHECK(ledger.reserve(0, MemoryKind::staging, 0).has_error());
  ledger.set_limit(0, 0);
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
  ledger.set_limit(0, 1000);
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
