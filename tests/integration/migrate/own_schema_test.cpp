// GameForge's own schema, as it is shipped: from the folder, and compiled in.
#include "gameforge_migrations.hpp"
#include "support.hpp"

#include <doctest/doctest.h>

#include <string>

using gf::sql::Dialect;
using gf::test::Place;

namespace {

std::string message(const gf::Result<void>& result) { return result ? "" : result.error().message; }

void shipped(const Place& place) {
  auto settings = place.settings();
  settings.folder = GAMEFORGE_MIGRATIONS;
  const auto validated = Place::open(settings).validate();
  REQUIRE(validated);
  CHECK(validated.value().errors.empty());
  CHECK(validated.value().warnings.empty());
  const auto trip = Place::open(settings).round_trip();
  REQUIRE(trip);
  CHECK(trip.value().errors.empty());
  CHECK(trip.value().warnings.empty());
  gf::migrate::Report report;
  REQUIRE(message(place.apply(settings, {}, report)) == "");
  CHECK(report.steps.size() == trip.value().checked);
  CHECK(Place::open(settings).diff().value().empty());

  // The embedded set is the same: nothing is pending, nothing was changed.
  settings.folder.clear();
  settings.embedded = gameforge_migrations();
  gf::migrate::Report second;
  REQUIRE(message(place.apply(settings, {}, second)) == "");
  CHECK(second.steps.empty());

  const auto connection = place.connect();
  const std::string hash(64, 'a');
  REQUIRE(connection->execute("INSERT INTO models VALUES ('" + hash + "', 'tiles', 'sd15', '/m', 1, 0)"));
  REQUIRE(connection->execute("INSERT INTO assets VALUES ('x', '" + std::string(32, 'b') + "', 0, '" + hash + "', '" +
                              hash + "', '" + hash +
                              "', '/p.png', 8, 8, 'a potion', NULL, '18446744073709551615', '{}', 0)"));
  CHECK(connection
            ->execute("INSERT INTO jobs VALUES ('short', NULL, NULL, 'high', 'waiting', 0, 0, '0', '{}', '" + hash +
                      "', 0, NULL, "
                      "NULL)")
            .has_error());
}

}  // namespace

TEST_CASE("sqlite: the shipped schema is valid, goes up and down and up, and is the one that is compiled in") {
  shipped(Place(Dialect::sqlite));
}
TEST_CASE("postgresql: the shipped schema is valid, goes up and down and up, and is the one that is compiled in") {
  shipped(Place(Dialect::postgresql));
}
