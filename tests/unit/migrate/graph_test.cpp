#include "migrate/graph.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

using gf::migrate::Migration;

namespace {

Migration node(std::int64_t version, std::vector<std::int64_t> depends = {}, bool declares = false) {
  Migration migration;
  migration.version = version;
  migration.version_text = std::to_string(version);
  migration.file = migration.version_text + "_x.sql";
  migration.header.declares_depends = declares || !depends.empty();
  migration.header.depends = std::move(depends);
  return migration;
}

std::vector<std::int64_t> versions(const std::vector<Migration>& migrations) {
  std::vector<std::int64_t> out;
  const auto order = gf::migrate::order_of(migrations).value();
  for (const auto index : order) out.push_back(migrations[index].version);
  return out;
}

}  // namespace

TEST_CASE("golden: without dependencies the order is that of the versions; with them, the smallest that is ready") {
  CHECK(versions({node(3), node(1), node(20)}) == std::vector<std::int64_t>{1, 3, 20});
  CHECK(versions({node(1), node(2, {9}), node(5), node(9)}) == std::vector<std::int64_t>{1, 5, 9, 2});
}

TEST_CASE("a dependency that is not there, and a circle with its path, are errors") {
  const auto missing = gf::migrate::order_of({node(1), node(2, {7})});
  REQUIRE(missing.has_error());
  CHECK(missing.error().message == "2_x.sql:1:1: it depends on 7, which is not there");
  const auto circle = gf::migrate::order_of({node(1), node(2, {4}), node(3, {2}), node(4, {3}), node(5, {4})});
  REQUIRE(circle.has_error());
  CHECK(circle.error().message.find("2 -> 4 -> 3 -> 2") != std::string::npos);
  CHECK(gf::migrate::order_of({node(1, {1})}).has_error());
}

TEST_CASE("property: on random graphs the order is the reference's, which looks for the smallest ready version anew") {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto count = 1 + random() % 30;
    std::vector<std::int64_t> ranks(count);
    for (std::uint32_t i = 0; i < count; ++i) ranks[i] = i + 1;
    std::shuffle(ranks.begin(), ranks.end(), random);
    std::vector<Migration> migrations;
    for (std::uint32_t i = 0; i < count; ++i) {
      std::vector<std::int64_t> depends;
      for (std::uint32_t j = 0; j < i; ++j) {
        if (random() % 6 == 0) depends.push_back(ranks[j]);
      }
      migrations.push_back(node(ranks[i], depends));
    }
    std::shuffle(migrations.begin(), migrations.end(), random);
    std::vector<std::int64_t> expected;
    while (expected.size() < count) {
      std::int64_t best = 0;
      for (const auto& migration : migrations) {
        const auto done = [&](std::int64_t v) {
          return std::find(expected.begin(), expected.end(), v) != expected.end();
        };
        if (done(migration.version)) continue;
        if (!std::all_of(migration.header.depends.begin(), migration.header.depends.end(), done)) continue;
        if (best == 0 || migration.version < best) best = migration.version;
      }
      expected.push_back(best);
    }
    REQUIRE(versions(migrations) == expected);
  }
}

TEST_CASE("what was applied later depends on a migration, unless it declares otherwise") {
  const std::vector<gf::migrate::AppliedNode> applied = {{1, false, {}}, {2, false, {}}, {3, true, {1}},
                                                         {4, true, {2}}, {5, true, {4}}, {6, true, {}}};
  CHECK(gf::migrate::dependents_of(2, applied) == std::vector<std::int64_t>{4, 5});
  CHECK(gf::migrate::dependents_of(1, applied) == std::vector<std::int64_t>{2, 3, 4, 5});
  CHECK(gf::migrate::dependents_of(6, applied).empty());
}
