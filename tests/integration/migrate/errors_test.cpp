// What the database says of a statement, with its exact place; and that no outcome leaves a lock behind.
#include "support.hpp"

#include "migrate/graph.hpp"
#include "migrate/runner.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using gf::Status;
using gf::migrate::Goal;
using gf::migrate::Report;
using gf::sql::Dialect;
using gf::test::Place;

namespace {

std::string message(const gf::Result<void>& result) { return result ? "" : result.error().message; }

constexpr const char* users =
    "-- gameforge: up\n"
    "create table users (id int primary key, name text not null check (length(name) > 1));\n"
    "-- gameforge: down\n"
    "drop table users;\n";

/// On PostgreSQL nobody holds the migrations' lock, and no transaction is left open.
void no_lock(const Place& place) {
  if (place.sqlite()) return;
  const auto connection = place.connect();
  // A session that was told to end may need a moment for it.
  for (int i = 0;; ++i) {
    const auto rows = connection->query(
        "select (select count(*) from pg_locks l join pg_database d on d.oid = l.database where l.locktype = "
        "'advisory' and d.datname = current_database()), (select count(*) from pg_stat_activity where datname = "
        "current_database() and application_name like 'gameforge migrate%' and xact_start is not null)");
    REQUIRE(rows.has_value());
    const auto held = rows.value().integer(0, 0) + rows.value().integer(0, 1);
    if (held == 0) return;
    REQUIRE(i < 1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

struct Row {
  std::string text;
  std::uint32_t line;
  std::uint32_t column;  // In characters: umlauts count as one.
  std::uint64_t statement;
  std::string code;
};

void each_error(const Place& place, const std::vector<Row>& rows) {
  place.folder.write("001_users.sql", users);
  REQUIRE(message(place.apply()) == "");
  const auto before = place.sum();
  for (const auto& row : rows) {
    CAPTURE(row.text);
    place.folder.write("002_bad.sql", row.text);
    for (const bool all_or_nothing : {false, true}) {
      auto settings = place.settings();
      settings.checks = false;  // The database itself is asked.
      settings.all_or_nothing = all_or_nothing;
      Report report;
      const auto result = place.apply(settings, {}, report);
      REQUIRE(result.has_error());
      REQUIRE(report.failure.has_value());
      const auto begins = "002_bad.sql:" + std::to_string(row.line) + ":" + std::to_string(row.column) +
                          ": statement " + std::to_string(row.statement) + ",";
      CHECK(result.error().message.substr(0, begins.size()) == begins);
      CHECK(report.failure->file == "002_bad.sql");
      CHECK(report.failure->line == row.line);
      CHECK(report.failure->column == row.column);
      CHECK(report.failure->code == row.code);
      CHECK(place.sum() == before);
      no_lock(place);
    }
  }
}

}  // namespace

TEST_CASE("sqlite: what the database refuses is told with file, line, column, statement and code") {
  each_error(
      Place(Dialect::sqlite),
      {
          {"create table a (x int);\ninsert into nowhere values (1);", 2, 1, 2, "SQLITE_ERROR (1)"},
          {"select id,\n  nme from users;", 2, 3, 1, "SQLITE_ERROR (1)"},
          {"select 'ä', nme from users;", 1, 13, 1, "SQLITE_ERROR (1)"},
          {"select 1;\n\n  select no_such_function(1);", 3, 10, 2, "SQLITE_ERROR (1)"},
          {"-- a comment\ncreate table users (x int);", 2, 14, 1, "SQLITE_ERROR (1)"},
          {"insert into users values (1, 'ab');\ninsert into users values (1, 'cd');", 2, 1, 2,
           "SQLITE_CONSTRAINT (1555)"},
          {"insert into users (id) values (5);", 1, 1, 1, "SQLITE_CONSTRAINT (1299)"},
          {"insert into users values (5, 'x');", 1, 1, 1, "SQLITE_CONSTRAINT (275)"},
          {"create table o (u int references users);\ninsert into o values (7);", 2, 1, 2, "SQLITE_CONSTRAINT (787)"},
          {"create trigger t before insert on users begin select raise(abort, 'no'); end;\n"
           "insert into users values (1, 'ab');",
           2, 1, 2, "SQLITE_CONSTRAINT (1811)"},
          {"drop table nowhere;", 1, 1, 1, "SQLITE_ERROR (1)"},
          {"create index i on users (nme);", 1, 26, 1, "SQLITE_ERROR (1)"},
      });
}

TEST_CASE("postgresql: what the database refuses is told with file, line, column, statement and code") {
  each_error(Place(Dialect::postgresql),
             {
                 {"create table a (x int);\ninsert into nowhere values (1);", 2, 13, 2, "42P01"},
                 {"select id,\n  nme from users;", 2, 3, 1, "42703"},
                 {"select 'ä', nme from users;", 1, 13, 1, "42703"},
                 {"select 1;\n\n  select no_such_function(1);", 3, 10, 2, "42883"},
                 {"-- a comment\ncreate table users (x int);", 2, 1, 1, "42P07"},
                 {"insert into users values (1, 'ab');\ninsert into users values (1, 'cd');", 2, 1, 2, "23505"},
                 {"insert into users (id) values (5);", 1, 1, 1, "23502"},
                 {"insert into users values (5, 'x');", 1, 1, 1, "23514"},
                 {"create table o (u int references users);\ninsert into o values (7);", 2, 1, 2, "23503"},
                 {"do $$ begin raise exception 'no' using errcode = 'GF001'; end $$;", 1, 1, 1, "GF001"},
                 {"drop table nowhere;", 1, 1, 1, "42P01"},
                 {"create index i on users (nme);", 1, 1, 1, "42703"},
                 {"select 1 / 0;", 1, 1, 1, "22012"},
                 {"select 'abc'::int;", 1, 8, 1, "22P02"},
                 {"create table b (x nosuchtype);", 1, 19, 1, "42704"},
                 {"insert into users values (1, 'ab')\n  on conflict (nme) do nothing;", 2, 15, 1, "42703"},
                 {"alter table users add foreign key (id) references users (name);", 1, 1, 1, "42830"},
                 {"grant select on users to nobody_at_all;", 1, 1, 1, "42704"},
             });
}

// ---- The connection ----

static void cut_connections(int first, int stride) {
  const auto files = [](const Place& place) {
    place.folder.write("001_users.sql", users);
    place.folder.write("002_more.sql", "create table more (id int);\ninsert into more values (1);\n");
    place.folder.write("003_steps.sql",
                       "-- gameforge: transaction: off\ncreate table s (x int);\ninsert into s values (1);\n"
                       "create index concurrently s_x on s (x);\n");
    place.folder.write("004_last.sql", "create table last (id int);\n");
  };
  const Place whole(Dialect::postgresql);
  files(whole);
  int events = 0;
  {
    auto settings = whole.settings();
    settings.hooks.progress = [&](const gf::migrate::Event&) { ++events; };
    Report report;
    REQUIRE(message(whole.apply(settings, {}, report)) == "");
  }
  const auto expected = whole.sum();
  REQUIRE(events > 10);
  for (int cut_at = first; cut_at < events; cut_at += stride) {
    CAPTURE(cut_at);
    const Place place(Dialect::postgresql);
    files(place);
    const auto killer = place.connect();
    auto settings = place.settings();
    int seen = 0;
    settings.hooks.progress = [&](const gf::migrate::Event&) {
      if (seen++ != cut_at) return;
      for (;;) {
        const auto left = killer->query(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and "
            "application_name like 'gameforge migrate%'");
        if (!left || left.value().empty()) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    };
    Report report;
    const auto cut = place.apply(settings, {}, report);
    REQUIRE(cut.has_error());
    CHECK(cut.error().status == Status::network_error);
    no_lock(place);
    CHECK(message(place.apply()) == "");
    CHECK(place.sum() == expected);
    CHECK(place.applied() == std::vector<std::string>{"001_users", "002_more", "003_steps", "004_last"});
    const auto rows = place.connect()->query("select (select count(*) from more), (select count(*) from s)").value();
    CHECK(rows.integer(0, 0) == 1);
    CHECK(rows.integer(0, 1) == 1);
    no_lock(place);
  }
}

TEST_CASE("postgresql: the connection is cut at one event or another, the next run completes it, no lock is left") {
  cut_connections(1, 3);
}
TEST_SUITE("chaos") {
  TEST_CASE("postgresql: the connection is cut at each event of a run, the next run completes it, no lock is left") {
    cut_connections(0, 1);
  }
}

// ---- Drift ----

namespace {

/// One object of a schema in a spelling that a careless comparison would trip over, a change to it, and the name that
/// a comparison must then tell.
struct Shape {
  std::string make;
  std::string change;
  std::string named;
};

std::vector<Shape> sqlite_shapes() {
  return {
      {"create table t# (a INTEGER PRIMARY KEY, b Text Default 'x')", "alter table t# add column c", "t#"},
      {"CREATE TABLE \"t#\" (\"a\" int NOT NULL, b real default 1.5)", "alter table t# rename column b to c", "t#"},
      {"create table t#(a int default (1 + 2), b text default (lower('A')))", "alter table t# drop column b", "t#"},
      {"create table t# (a int, b int, check (a < b))", "alter table t# add column c text default 'c'", "t#"},
      {"create table t# (a text collate nocase, b int generated always as (length(a)) virtual)",
       "create index i# on t# (b)", "i#"},
      {"create table t# (a int); create index i# on t# (a desc)", "drop index i#", "i#"},
      {"create table t# (a int); create unique index i# on t# (a) where a > 3",
       "drop index i#; create unique index i# on t# (a) where a > 4", "i#"},
      {"create table t# (a int, b int); create index i# on t# (a + b, lower(b))", "drop index i#", "i#"},
      {"create table t# (a int); create view v# as select a, a+1 as b from t#",
       "drop view v#; create view v# as select a, a+2 as b from t#", "v#"},
      {"create table t# (a int); create trigger g# after insert on t# begin update t# set a = case when a > 1 then 2 "
       "else 3 end; end",
       "drop trigger g#", "g#"},
      {"create table t# (a int primary key, b text) without rowid, strict", "drop table t#", "t#"},
      {"create table p# (a int primary key); create table t# (a int references p# (a) on delete cascade)",
       "drop table t#; create table t# (a int references p# (a))", "t#"},
  };
}

std::vector<Shape> postgres_shapes() {
  return {
      {"create table t# (a serial primary key, b varchar(20) default 'x')", "alter table t# alter b drop default",
       "t#"},
      {"CREATE TABLE \"t#\" (a int4 NOT NULL, b character varying DEFAULT 'y'::text)",
       "alter table t# alter a drop not null", "t#"},
      {"create table t# (a timestamptz default now(), b timestamp with time zone default current_timestamp)",
       "alter table t# alter a set default '2000-01-01'", "t#"},
      {"create table t# (a decimal(10,2) default 0, b numeric(10, 2))", "alter table t# alter b type numeric(12, 2)",
       "t#"},
      {"create table t# (a int, b int, constraint c# check (a < b and (b > 0 or a = 1)))",
       "alter table t# drop constraint c#", "c#"},
      {"create table t# (a int generated by default as identity, b int generated always as (a * 2) stored)",
       "alter table t# drop column b", "t#"},
      {"create table t# (a int, b text[] default '{}', c jsonb default '{}'::jsonb)",
       "alter table t# alter c type json using c::json, alter c set default '{}'::json", "t#"},
      {"create table t# (a int); create index i# on t# (a desc nulls last)", "drop index i#", "i#"},
      {"create table t# (a int, b text); create unique index i# on t# (lower(b), (a + 1)) where a > 3",
       "drop index i#; create unique index i# on t# (lower(b), (a + 1)) where a > 4", "i#"},
      {"create table t# (a int); create view v# as select a, a+1 as b from t# where a in (1, 2)",
       "create or replace view v# as select a, a+2 as b from t# where a in (1, 2)", "v#"},
      {"create type e# as enum ('a', 'b'); create table t# (a e# default 'a')", "alter type e# add value 'c'", "e#"},
      {"create function f#(x int) returns int language sql immutable as $$ select x + 1 $$",
       "create or replace function f#(x int) returns int language sql immutable as $$ select x + 2 $$", "f#"},
      {"create table t# (a int); create function g#() returns trigger language plpgsql as $$ begin return new; end $$; "
       "create trigger r# before insert on t# for each row execute function g#()",
       "drop trigger r# on t#", "r#"},
      {"create table p# (a int primary key); create table t# (a int references p# on delete cascade)",
       "alter table t# drop constraint t#_a_fkey; alter table t# add foreign key (a) references p# (a)", "t#"},
      {"create sequence s# increment 5 start 10", "alter sequence s# increment 6", "s#"},
      {"create table t# (a int); comment on table t# is 'it''s a table'", "comment on table t# is 'another'", "t#"},
  };
}

std::string numbered(std::string text, int number) {
  for (auto at = text.find('#'); at != std::string::npos; at = text.find('#', at)) {
    text.replace(at, 1, std::to_string(number));
  }
  return text;
}

/// Fifty objects: none differs from itself, and each change is named.
void fifty(const Place& place, const std::vector<Shape>& shapes) {
  std::string up;
  for (int i = 0; i < 50; ++i)
    up += numbered(shapes[static_cast<std::size_t>(i) % shapes.size()].make, i + 100) + ";\n";
  place.folder.write("001_all.sql", up);
  REQUIRE(message(place.apply()) == "");
  const auto migrator = place.open();
  const auto same = migrator.diff();
  REQUIRE(same.has_value());
  for (const auto& one : same.value()) FAIL_CHECK(one.kind << " " << one.name << ": " << one.expected << one.found);
  CHECK(migrator.drift().value().empty());

  const auto connection = place.connect();
  for (int i = 0; i < 50; ++i) {
    const auto& shape = shapes[static_cast<std::size_t>(i) % shapes.size()];
    const auto changed = connection->script(numbered(shape.change, i + 100));
    CAPTURE(shape.change);
    REQUIRE_MESSAGE(changed.has_value(), (changed ? "" : changed.error().message));
  }
  const auto differences = migrator.diff().value();
  for (int i = 0; i < 50; ++i) {
    const auto name = numbered(shapes[static_cast<std::size_t>(i) % shapes.size()].named, i + 100);
    CAPTURE(name);
    bool told = false;
    for (const auto& one : differences) told = told || one.name.find(name) != std::string::npos;
    CHECK(told);
  }
  CHECK(migrator.drift().value().size() == differences.size());
}

}  // namespace

TEST_CASE("sqlite: of fifty objects none differs from itself, and each of fifty changes is named") {
  fifty(Place(Dialect::sqlite), sqlite_shapes());
}
TEST_CASE("postgresql: of fifty objects none differs from itself, and each of fifty changes is named") {
  fifty(Place(Dialect::postgresql), postgres_shapes());
}

// ---- The driver ----

namespace {

/// A connection of which one call fails without being made.
class FailingConnection final : public gf::sql::Connection {
 public:
  FailingConnection(gf::sql::Connection& real, int fail_at) : real_(real), fail_at_(fail_at) {}

  bool failed() const { return calls_ > fail_at_; }

  Dialect dialect() const override { return real_.dialect(); }
  gf::Result<void> execute(std::string_view statement, std::span<const gf::sql::Value> parameters) override {
    if (fails()) return refuse();
    return kept(real_.execute(statement, parameters));
  }
  gf::Result<gf::sql::Rows> query(std::string_view statement, std::span<const gf::sql::Value> parameters) override {
    if (fails()) return refuse();
    return kept(real_.query(statement, parameters));
  }
  gf::Result<gf::sql::Rows> script(std::string_view statements) override {
    if (fails()) return refuse();
    return kept(real_.script(statements));
  }
  bool in_transaction() const override { return real_.in_transaction(); }
  gf::Result<void> set_timeouts(std::int64_t lock_us, std::int64_t statement_us) override {
    if (fails()) return refuse();
    return kept(real_.set_timeouts(lock_us, statement_us));
  }
  std::shared_ptr<gf::sql::Canceller> canceller() override { return real_.canceller(); }
  gf::Result<std::int64_t> backend_id() override {
    if (fails()) return refuse();
    return kept(real_.backend_id());
  }
  void allow_prepared(bool allowed) override { real_.allow_prepared(allowed); }
  bool usable() const override { return real_.usable(); }

 private:
  bool fails() { return calls_++ == fail_at_; }
  gf::Error refuse() {
    failure_ = {};
    failure_.code = "58030";
    failure_.message = "the disk said no";
    return {Status::database_error, failure_.message, {}};
  }
  template <class T>
  gf::Result<T> kept(gf::Result<T> result) {
    if (!result) failure_ = real_.failure();
    return result;
  }

  gf::sql::Connection& real_;
  int fail_at_;
  int calls_ = 0;
};

void failing_driver(int first, int stride) {
  const auto files = [](const Place& place) {
    place.folder.write("001_users.sql", users);
    place.folder.write("002_more.sql", "create table more (id int);\ninsert into more values (1);\n");
    place.folder.write("003_steps.sql",
                       "-- gameforge: transaction: off\ncreate table s (x int);\ninsert into s values (1);\n");
  };
  const Place whole(Dialect::postgresql);
  files(whole);
  REQUIRE(message(whole.apply()) == "");
  const auto expected = whole.sum();
  int rounds = 0;
  for (int fail_at = first;; fail_at += stride) {
    CAPTURE(fail_at);
    const Place place(Dialect::postgresql);
    files(place);
    auto settings = place.settings();
    const auto migrations = gf::migrate::parse_files(gf::migrate::read_folder(settings.folder).value()).value();
    const auto order = gf::migrate::order_of(migrations).value();
    bool failed = false;
    {
      const auto real = place.connect();
      FailingConnection connection(*real, fail_at);
      gf::migrate::Runner runner(settings, migrations, order, connection, "");
      Report report;
      const auto result = runner.run({}, report);
      failed = connection.failed();
      if (!failed) {
        CHECK(message(result) == "");
        break;
      }
      ++rounds;
      // What it tells as done is recorded, whatever failed.
      const auto applied = place.applied();
      for (const auto& step : report.steps) {
        if (step.done) CHECK(std::find(applied.begin(), applied.end(), step.label) != applied.end());
      }
      if (result) CHECK(applied.size() == 3);
    }
    no_lock(place);
    CHECK(message(place.apply()) == "");
    CHECK(place.sum() == expected);
    const auto rows = place.connect()->query("select (select count(*) from more), (select count(*) from s)").value();
    CHECK(rows.integer(0, 0) == 1);
    CHECK(rows.integer(0, 1) == 1);
  }
  CHECK(rounds > 40 / stride);
}

}  // namespace

TEST_CASE("postgresql: a driver that fails at one call or another leaves what the next run completes") {
  failing_driver(1, 6);
}
TEST_SUITE("chaos") {
  TEST_CASE("postgresql: a driver that fails at each call in turn leaves what the next run completes") {
    failing_driver(0, 1);
  }
}

TEST_CASE(
    "postgresql: a concurrent build that is cut short names the oldest transaction, and is built when that ends") {
  const Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int);\ncreate table other (x int);");
  REQUIRE(message(place.apply()) == "");
  place.folder.write("002_i.sql",
                     "-- gameforge: transaction: off\n-- gameforge: timeout: 300ms\ncreate index concurrently a_x on a "
                     "(x);\n");
  const auto old = place.connect();
  REQUIRE(static_cast<bool>(old->execute("begin isolation level repeatable read")));
  REQUIRE(old->query("select count(*) from other").has_value());
  const auto younger = place.connect();
  REQUIRE(static_cast<bool>(younger->execute("begin isolation level repeatable read")));
  REQUIRE(younger->query("select count(*) from other").has_value());
  Report report;
  const auto refused = place.apply(place.settings(), {}, report);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == gf::Status::timed_out);
  const std::string who =
      "the oldest transaction that is open: server process " + std::to_string(old->backend_id().value()) + " (";
  CHECK(refused.error().message.find(who) != std::string::npos);
  REQUIRE(report.failure);
  CHECK(report.failure->detail.find(who) != std::string::npos);
  CHECK(report.failure->line == 3);
  REQUIRE(static_cast<bool>(old->execute("commit")));
  REQUIRE(static_cast<bool>(younger->execute("commit")));
  CHECK(message(place.apply()) == "");
  CHECK(place.connect()
            ->query("select 1 from pg_index where indisvalid and indexrelid = 'a_x'::regclass")
            .value()
            .rows.size() == 1);
  no_lock(place);
}

TEST_CASE("postgresql: a concurrent build waits for an old transaction longer than for a table's lock, and ends") {
  const Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int);\ncreate table other (x int);");
  REQUIRE(message(place.apply()) == "");
  place.folder.write("002_i.sql", "-- gameforge: transaction: off\ncreate index concurrently a_x on a (x);\n");
  const auto old = place.connect();
  REQUIRE(static_cast<bool>(old->execute("begin isolation level repeatable read")));
  REQUIRE(old->query("select count(*) from other").has_value());
  std::thread ender([&] {
    // Ends the old transaction once the build has waited for it five times the lock's timeout.
    const auto looker = place.connect();
    for (int i = 0; i < 6000; ++i) {
      const auto rows = looker->query(
          "select 1 from pg_stat_activity where datname = current_database() and query like 'create index "
          "concurrently%' and wait_event_type = 'Lock' and query_start < clock_timestamp() - interval '500 ms'");
      if (rows && !rows.value().empty()) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    (void)old->execute("commit");
  });
  auto settings = place.settings();
  settings.lock_timeout_us = 100'000;
  Report report;
  const auto result = place.apply(settings, {}, report);
  ender.join();
  CHECK(message(result) == "");
  CHECK(report.apply_us > 500'000);
  CHECK(place.connect()
            ->query("select 1 from pg_index where indisvalid and indexrelid = 'a_x'::regclass")
            .value()
            .rows.size() == 1);
  no_lock(place);
}
