#include "migrate/check.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

using gf::Status;
using gf::sql::Dialect;

namespace {

gf::migrate::Migration file(const std::string& text) {
  return gf::migrate::parse_files({{"001_a.sql", text}}).value().at(0);
}

std::vector<std::string> rules(const std::string& text, Dialect dialect) {
  const auto migration = file(text);
  std::set<std::string> made;
  std::vector<std::string> out;
  const auto section = migration.up(dialect, {}).value();
  for (const auto& remark : gf::migrate::lint(section, migration.header.transaction, dialect, made))
    out.push_back(remark.rule);
  return out;
}

}  // namespace

TEST_CASE("every spelling that begins or ends a transaction is known, in words and case, and savepoints are none") {
  const auto ends = [](const char* text, Dialect dialect) {
    return gf::migrate::traits_of(text, dialect).ends_or_begins_transaction;
  };
  for (const char* text : {"begin", "BEGIN", "Begin Transaction", "begin /* x */ work", "start transaction", "commit",
                           "COMMIT work", "end", "end transaction", "rollback", "abort", "rollback work",
                           "prepare transaction 'x'", "commit prepared 'x'", "rollback prepared 'x'"}) {
    CAPTURE(text);
    CHECK(ends(text, Dialect::postgresql));
  }
  for (const char* text : {"begin", "begin immediate", "commit", "end", "END TRANSACTION", "rollback"}) {
    CAPTURE(text);
    CHECK(ends(text, Dialect::sqlite));
  }
  for (const char* text :
       {"savepoint a", "release a", "rollback to a", "rollback to savepoint a", "do $$ begin commit; end $$",
        "create table begin_ (x int)", "select 'commit'", "prepare p as select 1"}) {
    CAPTURE(text);
    CHECK_FALSE(ends(text, Dialect::postgresql));
  }
}

TEST_CASE("what cannot run in a transaction, or does nothing there, is refused before it runs, with advice") {
  struct Row {
    Dialect dialect;
    std::string statement;
    bool refused;
  };
  const std::vector<Row> rows = {
      {Dialect::postgresql, "create index concurrently i on t (x)", true},
      {Dialect::postgresql, "create unique index concurrently if not exists i on t (x)", true},
      {Dialect::postgresql, "drop index concurrently i", true},
      {Dialect::postgresql, "reindex table concurrently t", true},
      {Dialect::postgresql, "vacuum", true},
      {Dialect::postgresql, "alter system set work_mem = '1MB'", true},
      {Dialect::postgresql, "create database d", true},
      {Dialect::postgresql, "create index i on t (x)", false},
      {Dialect::postgresql, "alter type e add value 'x'", false},
      {Dialect::sqlite, "vacuum", true},
      {Dialect::sqlite, "attach 'x' as y", true},
      {Dialect::sqlite, "pragma foreign_keys = off", true},
      {Dialect::sqlite, "pragma foreign_keys(0)", true},
      {Dialect::sqlite, "pragma main.journal_mode = wal", true},
      {Dialect::sqlite, "pragma user_version = 3", false},
      {Dialect::sqlite, "pragma foreign_keys", false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.statement);
    const auto inside = file("-- gameforge: up\n" + row.statement + ";\n");
    const auto checked = gf::migrate::check_section(inside.up(row.dialect, {}).value(), inside.header, row.dialect);
    CHECK(checked.has_error() == row.refused);
    if (row.refused) {
      CHECK(checked.error().message.starts_with("001_a.sql:2:1: statement 1, "));
      CHECK(checked.error().message.find("transaction: off") != std::string::npos);
    }
    const auto outside = file("-- transaction: off\n-- gameforge: up\n" + row.statement + ";\n");
    CHECK(gf::migrate::check_section(outside.up(row.dialect, {}).value(), outside.header, row.dialect).has_value());
  }
}

TEST_CASE("PostgreSQL's grammar tells the place of a syntax error in the file") {
  const auto broken = file("-- gameforge: up\ncreate table t (x int);\n\n  alter table t add colum y int int;\n");
  const auto checked =
      gf::migrate::check_section(broken.up(Dialect::postgresql, {}).value(), broken.header, Dialect::postgresql);
  REQUIRE(checked.has_error());
  CHECK(checked.error().status == Status::syntax_error);
  CHECK(checked.error().message.starts_with("001_a.sql:4:"));
  CHECK(checked.error().message.find("syntax error at or near") != std::string::npos);
}

TEST_CASE("lint tells what locks, rewrites or loses, and leaves tables alone that the file itself makes") {
  using Rules = std::vector<std::string>;
  struct Row {
    std::string statement;
    Rules rules;
  };
  const std::vector<Row> rows = {
      {"create index i on t (x)", {"index-not-concurrent"}},
      {"create table t (x int); create index i on t (x)", {}},
      {"alter table t alter column x type bigint", {"rewrites-table"}},
      {"alter table t add column type text", {}},
      {"alter table t alter column x set not null", {"scans-table"}},
      {"alter table t add foreign key (x) references u (id)", {"constraint-not-deferred"}},
      {"alter table t add constraint c check (x > 0) not valid", {}},
      {"alter table t add constraint c unique (x)", {"index-not-concurrent"}},
      {"alter table t add constraint c unique using index i", {}},
      {"alter table t add column y uuid default gen_random_uuid()", {"rewrites-table"}},
      {"alter table t rename to u", {"breaks-readers"}},
      {"drop table t", {"loses-data"}},
      {"alter table t drop column x", {"loses-data"}},
      {"alter table t drop constraint c", {}},
      {"truncate t", {"loses-data"}},
      {"cluster t", {"rewrites-table"}},
      {"lock table t", {"locks-table"}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.statement);
    CHECK(rules(row.statement, Dialect::postgresql) == row.rules);
  }
  CHECK(rules("drop table t", Dialect::sqlite) == Rules{"loses-data"});
  CHECK(rules("create index i on t (x)", Dialect::sqlite).empty());
  CHECK(rules("-- transaction: off\n-- gameforge: up\ninsert into t values (1)", Dialect::postgresql) ==
        Rules{"not-atomic"});
}

TEST_CASE("what a statement drops is named") {
  const auto drops = [](const char* text) { return gf::migrate::traits_of(text, Dialect::postgresql).drops; };
  CHECK(drops("drop table if exists s.users cascade") == "table s.users");
  CHECK(drops("alter table users drop column if exists email") == "column users.email");
  CHECK(drops("alter table only users drop email") == "column users.email");
  CHECK(drops("delete from users where id = 1") == "rows of users");
  CHECK(drops("truncate table users") == "all rows of users");
  CHECK(drops("drop index i").empty());
  CHECK(drops("alter table users alter email drop default").empty());
}

TEST_CASE("SQLite: a replay finds what the grammar alone cannot, at its place") {
  auto scratch = gf::sql::open("sqlite::memory:").value();
  const auto good = file("create table t (a int);\ncreate view v as select a from t;\ninsert into t select a from v;");
  REQUIRE(gf::migrate::replay_on(*scratch, good.up(Dialect::sqlite, {}).value()));
  // Rows are never written there.
  CHECK(scratch->query("select count(*) from t").value().integer(0, 0) == 0);
  const auto bad = file("insert into t (a)\nvalues (1);\nupdate t\n   set b = 1;");
  const auto replayed = gf::migrate::replay_on(*scratch, bad.up(Dialect::sqlite, {}).value());
  REQUIRE(replayed.has_error());
  CHECK(replayed.error().status == Status::syntax_error);
  CHECK(replayed.error().message.find("no such column: b") != std::string::npos);
}
