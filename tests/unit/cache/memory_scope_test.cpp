#include "cache/memory_scope.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

using gf::Status;
using gf::cache::Ledger;
using gf::cache::MemoryKind;
using gf::cache::MemoryScope;
using gf::cache::MemoryScopeReport;
using gf::cache::MemoryStage;
using gf::cache::MemoryTag;

TEST_CASE("a scope has the net bytes and the peak of its thread and device, and of its time") {
  Ledger ledger;
  REQUIRE(ledger.reserve(0, MemoryKind::weights, 1000).has_value());
  MemoryScope scope(ledger, 0, {.name = "decode"});
  REQUIRE(ledger.reserve(0, MemoryKind::activations, 100).has_value());
  ledger.commit(0, MemoryKind::activations, 100);
  REQUIRE(ledger.reserve(1, MemoryKind::activations, 7).has_value());
  std::thread([&] { CHECK(ledger.reserve(0, MemoryKind::activations, 5000).has_value()); }).join();
  ledger.release(0, MemoryKind::activations, 60, true);
  const auto report = scope.end();
  CHECK(report.net_bytes == 40);
  CHECK(report.peak_bytes == 100);
  CHECK(report.reservations == 1);
  CHECK(report.leaks.empty());
  REQUIRE(ledger.reserve(0, MemoryKind::activations, 1).has_value());
  CHECK(scope.net_bytes() == 40);
  CHECK(scope.end().peak_bytes == 0);  // Once.
}

TEST_CASE("an inner scope's bytes are the outer's too, and both limits hold") {
  Ledger ledger;
  MemoryScope outer(ledger, 0, {.name = "image", .limit_bytes = 100});
  REQUIRE(ledger.reserve(0, MemoryKind::activations, 30).has_value());
  {
    MemoryScope inner(ledger, 0, {.name = "decode", .limit_bytes = 80, .end_promises = false});
    const auto refused = ledger.reserve(0, MemoryKind::activations, 81);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::over_budget);
    CHECK(refused.error().message == "81 bytes were asked in the memory scope decode, which holds 0 of at most 80");
    CHECK(ledger.reserve(0, MemoryKind::activations, 71).error().message ==
          "71 bytes were asked in the memory scope image, which holds 30 of at most 100");
    REQUIRE(ledger.reserve(0, MemoryKind::activations, 70).has_value());
    CHECK(inner.end().refusals == 1);
  }
  CHECK(ledger.total(0) == 100);
  CHECK(ledger.account(0).refusals == 2);
  CHECK(outer.net_bytes() == 100);
  CHECK(outer.end().refusals == 1);
}

TEST_CASE("at its end a scope gives up what was only promised, trims, and tells its listener") {
  Ledger ledger;
  std::vector<MemoryScopeReport> told;
  {
    const MemoryScope scope(ledger, 0,
                            {.name = "sampling",
                             .trim = [] { return std::uint64_t{77}; },
                             .at_end = [&](const auto& report) { told.push_back(report); }});
    REQUIRE(ledger.reserve(0, MemoryKind::activations, 100).has_value());
    REQUIRE(ledger.reserve(0, MemoryKind::staging, 10).has_value());
    ledger.commit(0, MemoryKind::activations, 40);
    ledger.release(0, MemoryKind::staging, 10, false);
  }
  CHECK(ledger.total(0) == 40);
  REQUIRE(told.size() == 1);
  CHECK(told[0].promises_ended == 60);
  CHECK(told[0].trimmed_bytes == 77);
  CHECK(told[0].net_bytes == 40);
}

TEST_CASE("records name what leaked, by label and size") {
  Ledger ledger;
  auto* const tiles = ledger.owner(0, "tiles");
  MemoryScope scope(ledger, 0, {.name = "decode", .stage = MemoryStage::decoding, .owner = tiles, .records = true});
  const auto take = [&](std::uint64_t bytes, std::string_view label) {
    const MemoryTag tag(ledger, 0, tiles, MemoryStage::decoding, label);
    REQUIRE(ledger.reserve(0, MemoryKind::activations, bytes).has_value());
    ledger.commit(0, MemoryKind::activations, bytes);
  };
  take(100, "mid block");
  take(300, "up block");
  take(100, "tile");
  ledger.release(0, MemoryKind::activations, 300, true);
  ledger.release(0, MemoryKind::activations, 100, true);  // The newest of that size.
  CHECK(ledger.account(*tiles).by_stage[4] == 100);
  const auto report = scope.end();
  REQUIRE(report.leaks.size() == 1);
  CHECK(report.leaks[0].label == "mid block");
  CHECK(report.leaks[0].bytes == 100);
  CHECK(report.leaks[0].ordinal == 1);
  CHECK(report.leaks_are_complete);
}

TEST_CASE("property: what the records leave is what the scope took and did not give back") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Ledger ledger;
    MemoryScope scope(ledger, 0, {.name = "any", .records = true, .end_promises = false});
    std::uint64_t held = 0;
    std::uint64_t peak = 0;
    for (int step = 0; step < 300; ++step) {
      if (random() % 2 == 0) {
        const auto bytes = random() % 50;
        REQUIRE(ledger.reserve(0, MemoryKind::weights, bytes).has_value());
        held += bytes;
      } else {
        const auto bytes = random() % 60;
        ledger.release(0, MemoryKind::weights, bytes, false);
        held -= std::min(held, bytes);
      }
      peak = std::max(peak, held);
    }
    const auto report = scope.end();
    std::uint64_t left = 0;
    for (const auto& leak : report.leaks) left += leak.bytes;
    CHECK(left == held);
    CHECK(report.net_bytes == static_cast<std::int64_t>(held));
    CHECK(report.peak_bytes == peak);
  }
}
