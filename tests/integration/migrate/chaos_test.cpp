// kill -9 of the runner, at every boundary of a statement and at random instants: the next run goes on, nothing is half
// done.
#include "support.hpp"

#include <doctest/doctest.h>

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

using gf::sql::Dialect;
using gf::test::Place;

namespace {

int rounds(int fallback) {
  const char* text = std::getenv("GAMEFORGE_KILL_ROUNDS");
  return text != nullptr ? std::atoi(text) : fallback;
}

void ten_files(const Place& place) {
  for (int i = 1; i <= 10; ++i) {
    const std::string n = std::to_string(i);
    std::string text = i % 3 == 0 ? "-- transaction: off\n-- gameforge: up\n" : "-- gameforge: up\n";
    text += "create table t" + n + " (x int);\ninsert into t" + n + " values (1);\n";
    if (i % 3 == 0 && place.sqlite()) text += "vacuum;\n";
    if (i % 3 == 0 && !place.sqlite()) text += "create index concurrently t" + n + "_x on t" + n + " (x);\n";
    text += "insert into t" + n + " values (2);\n-- gameforge: down\ndrop table t" + n + ";\n";
    place.folder.write((i < 10 ? "00" : "0") + n + "_t" + n + ".sql", text);
  }
}

/// After a kill: every file in a transaction is there with its record, or not at all.
void check_whole(const Place& place) {
  const auto connection = place.connect();
  const auto history = gf::migrate::History::read(*connection);
  REQUIRE(history.has_value());
  for (int i = 1; i <= 10; ++i) {
    if (i % 3 == 0) continue;
    const bool recorded = history.value().find(i) != nullptr;
    const auto rows = connection->query("select count(*) from t" + std::to_string(i));
    CHECK(rows.has_value() == recorded);
    if (rows) CHECK(rows.value().integer(0, 0) == 2);
  }
}

void check_complete(const Place& place) {
  gf::migrate::Report report;
  const auto result = place.apply(place.settings(), {}, report);
  if (!result) FAIL(result.error().message);
  CHECK(place.applied().size() == 10);
  const auto connection = place.connect();
  for (int i = 1; i <= 10; ++i) {
    const auto rows = connection->query("select count(*) from t" + std::to_string(i));
    REQUIRE(rows.has_value());
    CHECK(rows.value().integer(0, 0) == 2);
  }
}

void at_boundaries(Dialect dialect, int step) {
  // Every event of a whole run is a boundary; past the last one nothing is killed.
  for (long at = 0; at < 200; at += step) {
    CAPTURE(at);
    Place place(dialect);
    ten_files(place);
    auto runner = place.start({"run", "--kill-at", std::to_string(at)});
    REQUIRE(runner->wait(60'000'000));
    if (runner->status() == 0) return;
    REQUIRE(runner->status() == 128 + SIGKILL);
    check_whole(place);
    check_complete(place);
  }
  FAIL("a run of ten files has fewer than 200 events");
}

void at_random(Dialect dialect, int count) {
  std::mt19937 random(20261124);
  int killed = 0;
  std::int64_t whole_us = 200'000;
  // Until so many are killed in their work, not only aimed at: the machine may be slower in one round than in another.
  for (int round = 0; round < count || killed <= count / 3; ++round) {
    CAPTURE(round);
    REQUIRE(round < 10 * count);
    Place place(dialect);
    ten_files(place);
    const auto began = std::chrono::steady_clock::now();
    auto runner = place.start({"run"});
    // The first round runs through and tells how long that takes.
    if (round > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % static_cast<std::uint32_t>(whole_us)));
      runner->signal(SIGKILL);
    }
    REQUIRE(runner->wait(60'000'000));
    const bool was_killed = runner->status() == 128 + SIGKILL;
    if (!was_killed) {
      const auto took_us =
          std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began).count();
      whole_us = round == 0 ? took_us : std::min(whole_us, took_us);
    }
    killed += was_killed ? 1 : 0;
    check_whole(place);
    check_complete(place);
  }
}

}  // namespace

TEST_CASE("sqlite: killed at boundaries of statements, the next run completes it") {
  at_boundaries(Dialect::sqlite, 5);
}
TEST_CASE("postgresql: killed at boundaries of statements, the next run completes it") {
  at_boundaries(Dialect::postgresql, 5);
}
TEST_CASE("sqlite: killed at random instants, the next run completes it") { at_random(Dialect::sqlite, 20); }
TEST_CASE("postgresql: killed at random instants, the next run completes it") { at_random(Dialect::postgresql, 20); }

TEST_SUITE("chaos") {
  TEST_CASE("sqlite: killed at every boundary of a statement") { at_boundaries(Dialect::sqlite, 1); }
  TEST_CASE("postgresql: killed at every boundary of a statement") { at_boundaries(Dialect::postgresql, 1); }
  TEST_CASE("sqlite: killed at 300 random instants") { at_random(Dialect::sqlite, rounds(300)); }
  TEST_CASE("postgresql: killed at 300 random instants") { at_random(Dialect::postgresql, rounds(300)); }
}
