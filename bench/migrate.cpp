// gameforge_bench_migrate [COUNT] [ROUNDS]: migrations from nothing and with nothing to do, beside a bare loop in C
// that sends the same SQL and the same tracking rows in the same transactions. Prints one JSON object. Checks are timed
// apart.
#include "support.hpp"

#include "base/json.hpp"

#include <libpq-fe.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

std::int64_t since_us(Clock::time_point began) {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - began).count();
}

void need(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

std::int64_t median(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

/// What the bare loop sends: each migration's statements, and the row that the migrator wrote for it.
struct Recipe {
  std::vector<std::vector<std::string>> statements;
  std::vector<std::vector<std::optional<std::string>>> rows;
  std::vector<std::string> columns;
  std::string create_tracking;
};

std::string insert_of(const Recipe& recipe) {
  std::string names;
  std::string places;
  for (std::size_t i = 0; i < recipe.columns.size(); ++i) {
    names += (i == 0 ? "" : ", ") + recipe.columns[i];
    places += (i == 0 ? "$" : ", $") + std::to_string(i + 1);
  }
  return "INSERT INTO gameforge_migrations (" + names + ") VALUES (" + places + ")";
}

std::int64_t bare_sqlite(const Recipe& recipe, const std::string& path) {
  const auto began = Clock::now();
  sqlite3* database = nullptr;
  need(sqlite3_open(path.c_str(), &database) == SQLITE_OK, "sqlite3_open");
  const auto execute = [&](const char* text) {
    need(sqlite3_exec(database, text, nullptr, nullptr, nullptr) == SQLITE_OK, sqlite3_errmsg(database));
  };
  execute(recipe.create_tracking.c_str());
  sqlite3_stmt* insert = nullptr;
  need(sqlite3_prepare_v2(database, insert_of(recipe).c_str(), -1, &insert, nullptr) == SQLITE_OK,
       sqlite3_errmsg(database));
  for (std::size_t i = 0; i < recipe.statements.size(); ++i) {
    execute("BEGIN IMMEDIATE");
    for (const auto& statement : recipe.statements[i]) execute(statement.c_str());
    for (std::size_t c = 0; c < recipe.columns.size(); ++c) {
      const auto& value = recipe.rows[i][c];
      if (value) {
        sqlite3_bind_text(insert, static_cast<int>(c) + 1, value->data(), static_cast<int>(value->size()),
                          SQLITE_STATIC);
      } else {
        sqlite3_bind_null(insert, static_cast<int>(c) + 1);
      }
    }
    need(sqlite3_step(insert) == SQLITE_DONE, sqlite3_errmsg(database));
    sqlite3_reset(insert);
    execute("COMMIT");
  }
  sqlite3_finalize(insert);
  sqlite3_close(database);
  return since_us(began);
}

std::int64_t bare_postgres(const Recipe& recipe, const std::string& url) {
  const auto began = Clock::now();
  PGconn* connection = PQconnectdb(url.c_str());
  need(PQstatus(connection) == CONNECTION_OK, PQerrorMessage(connection));
  const auto execute = [&](const char* text) {
    PGresult* result = PQexec(connection, text);
    need(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK,
         PQerrorMessage(connection));
    PQclear(result);
  };
  execute(recipe.create_tracking.c_str());
  const std::string insert = insert_of(recipe);
  for (std::size_t i = 0; i < recipe.statements.size(); ++i) {
    execute("BEGIN");
    for (const auto& statement : recipe.statements[i]) execute(statement.c_str());
    std::vector<const char*> values;
    for (const auto& value : recipe.rows[i]) values.push_back(value ? value->c_str() : nullptr);
    PGresult* result = PQexecParams(connection, insert.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                                    nullptr, nullptr, 0);
    need(PQresultStatus(result) == PGRES_COMMAND_OK, PQerrorMessage(connection));
    PQclear(result);
    execute("COMMIT");
  }
  PQfinish(connection);
  return since_us(began);
}

Recipe recipe_of(const gf::test::Place& place, int count) {
  Recipe recipe;
  const auto connection = place.connect();
  const auto migrator = place.open();
  for (const auto& migration : migrator.migrations()) {
    auto& list = recipe.statements.emplace_back();
    const auto section = migration.up(place.dialect, {}).value();
    for (const auto& statement : section.statements) list.push_back(statement.text);
  }
  const auto rows = connection->query("SELECT * FROM gameforge_migrations ORDER BY id").value();
  need(rows.rows.size() == static_cast<std::size_t>(count), "the run left another number of rows");
  // The id is the database's to give, in both.
  for (std::size_t c = 1; c < rows.columns.size(); ++c) recipe.columns.push_back(rows.columns[c]);
  for (const auto& row : rows.rows) {
    auto& values = recipe.rows.emplace_back();
    for (std::size_t c = 1; c < row.size(); ++c) {
      if (const auto* text = std::get_if<std::string>(&row[c])) {
        values.emplace_back(*text);
      } else if (const auto* number = std::get_if<std::int64_t>(&row[c])) {
        values.emplace_back(std::to_string(*number));
      } else {
        values.emplace_back(std::nullopt);
      }
    }
  }
  if (place.sqlite()) {
    recipe.create_tracking =
        connection->query("SELECT sql FROM sqlite_schema WHERE name = 'gameforge_migrations'").value().text(0, 0);
  } else {
    std::string columns;
    for (std::size_t c = 0; c < rows.columns.size(); ++c) {
      const auto type = connection
                            ->query(
                                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
                                "'gameforge_migrations'::regclass AND attname = '" +
                                rows.columns[c] + "'")
                            .value()
                            .text(0, 0);
      columns += (c == 0 ? "" : ", ") + rows.columns[c] + " " + type +
                 (c == 0 ? " GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY" : "");
    }
    recipe.create_tracking = "CREATE TABLE gameforge_migrations (" + columns + ")";
  }
  return recipe;
}

void write_files(const gf::test::TempFolder& folder, int count) {
  for (int i = 1; i <= count; ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "%05d_table_%d.sql", i, i);
    const std::string n = std::to_string(i);
    folder.write(name, "-- gameforge: up\nCREATE TABLE item_" + n +
                           " (id integer PRIMARY KEY, name text NOT NULL, created_us bigint);\n" +
                           "CREATE INDEX item_" + n + "_name ON item_" + n +
                           " (name);\n-- gameforge: down\nDROP TABLE item_" + n + ";\n");
  }
}

gf::Json measure(gf::sql::Dialect dialect, int count, int rounds) {
  std::vector<std::int64_t> ours;
  std::vector<std::int64_t> checks;
  std::vector<std::int64_t> bare;
  std::vector<std::int64_t> nothing;
  std::vector<std::int64_t> permille;
  std::optional<Recipe> recipe;
  const auto run_bare = [&] {
    const gf::test::Place other(dialect);
    bare.push_back(other.sqlite() ? bare_sqlite(*recipe, other.other.file("bare.db"))
                                  : bare_postgres(*recipe, other.url));
  };
  // The first round warms files and server up, gives the rows for the bare loop, and does not count. Which side goes
  // first alternates: a checkpoint of the round before falls on whoever does.
  for (int round = 0; round <= rounds; ++round) {
    if (round % 2 == 0 && round > 0) run_bare();
    const gf::test::Place place(dialect);
    write_files(place.folder, count);
    gf::migrate::Report report;
    auto began = Clock::now();
    {
      const auto migrator = place.open();
      const auto result = migrator.apply({}, report);
      need(result.has_value(), result ? "" : result.error().message);
    }
    const auto whole_us = since_us(began);
    if (round == 0) {
      recipe = recipe_of(place, count);
      continue;
    }
    checks.push_back(report.check_us);
    ours.push_back(whole_us - report.check_us);
    if (round % 2 == 1) run_bare();
    permille.push_back(ours.back() * 1000 / bare.back());
    for (int again = 0; again < 5; ++again) {
      began = Clock::now();
      gf::migrate::Report idle;
      const auto result = place.open().apply({}, idle);
      need(result.has_value() && idle.steps.empty(), "there was something to do");
      nothing.push_back(since_us(began));
    }
  }
  return {{"from_nothing_us", median(ours)},
          {"bare_loop_us", median(bare)},
          {"ratio", static_cast<double>(median(permille)) / 1000.0},
          {"checks_us", median(checks)},
          {"nothing_to_do_us", median(nothing)}};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const int count = argc > 1 ? std::atoi(argv[1]) : 1000;
    const int rounds = argc > 2 ? std::atoi(argv[2]) : 3;
    need(count > 0 && rounds > 0, "usage: gameforge_bench_migrate [COUNT] [ROUNDS]");
    gf::Json out = {
        {"migrations", count}, {"rounds", rounds}, {"sqlite", measure(gf::sql::Dialect::sqlite, count, rounds)}};
    if (gf::test::PostgresServer::instance(true).available()) {
      out["postgresql"] = measure(gf::sql::Dialect::postgresql, count, rounds);
    } else {
      out["postgresql"] = gf::test::PostgresServer::instance().why_not();
    }
    std::printf("%s\n", gf::to_text(out, 2).c_str());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gameforge_bench_migrate: %s\n", e.what());
    return 1;
  }
}
