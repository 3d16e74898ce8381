// What a run does on both databases: real SQLite files, and a real PostgreSQL server.
#include "support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using gf::Status;
using gf::migrate::Goal;
using gf::migrate::Report;
using gf::test::Place;

namespace {

using Labels = std::vector<std::string>;

constexpr const char* users =
    "-- gameforge: up\n"
    "create table users (id int primary key, name text not null);\n"
    "-- gameforge: down\n"
    "drop table users;\n";
constexpr const char* emails =
    "-- gameforge: up\n"
    "alter table users add column email text;\n"
    "create index users_email on users (email);\n"
    "-- gameforge: down\n"
    "drop index users_email;\n"
    "alter table users drop column email;\n";
constexpr const char* orders =
    "-- gameforge: up\n"
    "create table orders (id int primary key, owner int references users (id));\n"
    "-- gameforge: down\n"
    "drop table orders;\n";

void three(const Place& place) {
  place.folder.write("001_users.sql", users);
  place.folder.write("002_emails.sql", emails);
  place.folder.write("003_orders.sql", orders);
}

std::string message(const gf::Result<void>& result) { return result ? "" : result.error().message; }

Goal rollback(std::int64_t version, bool cascade = false) { return {Goal::Kind::rollback, version, 0, cascade}; }

#define BOTH(name, function)                                                \
  TEST_CASE("sqlite: " name) { function(Place(gf::sql::Dialect::sqlite)); } \
  TEST_CASE("postgresql: " name) { function(Place(gf::sql::Dialect::postgresql)); }

void check_applied(const Place& place, const Labels& expected) {
  const auto found = place.applied();
  CHECK(found == expected);
}

}  // namespace

static void up_and_down(const Place& place) {
  three(place);
  const auto empty = place.sum();
  REQUIRE(message(place.apply()) == "");
  check_applied(place, {"001_users", "002_emails", "003_orders"});
  const auto full = place.sum();
  Report again;
  REQUIRE(message(place.apply(place.settings(), {}, again)) == "");
  CHECK(again.steps.empty());

  const auto refused = place.apply(rollback(2));
  REQUIRE(refused.has_error());
  CHECK(refused.error().message.find("003_orders") != std::string::npos);
  CHECK(place.sum() == full);
  Report undone;
  REQUIRE(message(place.apply(place.settings(), rollback(2, true), undone)) == "");
  REQUIRE(undone.steps.size() == 2);
  CHECK(undone.steps[0].label == "003_orders");
  CHECK(undone.steps[0].drops == std::vector<std::string>{"table orders"});
  CHECK(undone.steps[1].label == "002_emails");
  check_applied(place, {"001_users"});
  REQUIRE(message(place.apply()) == "");
  CHECK(place.sum() == full);
  REQUIRE(message(place.apply({Goal::Kind::redo, {}, 0, false})) == "");
  CHECK(place.sum() == full);
  REQUIRE(message(place.apply({Goal::Kind::rollback_to, 1, 0, false})) == "");
  check_applied(place, {"001_users"});
  REQUIRE(message(place.apply({Goal::Kind::rollback_steps, {}, 1, false})) == "");
  check_applied(place, {});
  CHECK(place.sum() == empty);
}
BOTH("up, down, redo, to and steps leave the schema that they name", up_and_down)

static void broken_file(const Place& place) {
  three(place);
  struct Row {
    std::string text;
    std::string begins;
  };
  const std::vector<Row> rows = {
      {"create table a (x int);\nselect * frm a;", "004_bad.sql:2:"},
      {"create table a (x int);\ninsert into nowhere values (1);", "004_bad.sql:2:"},
      {"create table a (x int primary key);\ninsert into a values (1);\n  insert into a values (1);",
       "004_bad.sql:3:3"},
      {"create table a (x int);\ncommit;", "004_bad.sql:2:1"},
      {"create table a (x int);\n\nbegin;", "004_bad.sql:3:1"},
      {"create table a (x int);\nselect 'abc;", "004_bad.sql:2:8"},
      {"create table users (x int)", "004_bad.sql:1:"},
  };
  REQUIRE(message(place.apply({Goal::Kind::up, 2, 0, false})) == "");
  for (const auto& row : rows) {
    CAPTURE(row.text);
    place.folder.write("004_bad.sql", row.text);
    for (const bool checks : {true, false}) {
      REQUIRE(message(place.apply({Goal::Kind::up, 3, 0, false})) == "");
      const auto before = place.sum();
      auto settings = place.settings();
      settings.checks = checks;
      Report report;
      const auto result = place.apply(settings, {}, report);
      REQUIRE(result.has_error());
      if (checks || row.text.find("commit") == std::string::npos) {
        CHECK(result.error().message.substr(0, row.begins.size()) == row.begins);
      }
      REQUIRE(report.failure.has_value());
      CHECK(report.failure->file == "004_bad.sql");
      CHECK(place.sum() == before);
      check_applied(place, {"001_users", "002_emails", "003_orders"});
    }
  }
  // The same file, mended, needs no other command.
  place.folder.write("004_bad.sql", "create table a (x int)");
  CHECK(message(place.apply()) == "");
}

TEST_CASE("sqlite: a broken file leaves nothing, names its place, and runs again once it is mended") {
  broken_file(Place(gf::sql::Dialect::sqlite));
}
TEST_CASE("postgresql: a broken file leaves nothing, names its place, and runs again once it is mended") {
  broken_file(Place(gf::sql::Dialect::postgresql));
}

static void all_or_nothing(const Place& place) {
  three(place);
  place.folder.write("004_bad.sql", "create table a (x int);\ninsert into a values ('x', 2)");
  const auto before = place.sum();
  auto settings = place.settings();
  settings.all_or_nothing = true;
  settings.checks = false;
  Report report;
  CHECK(place.apply(settings, {}, report).has_error());
  CHECK(place.sum() == before);
  check_applied(place, {});
  settings.all_or_nothing = false;
  CHECK(place.apply(settings, {}, report).has_error());
  check_applied(place, {"001_users", "002_emails", "003_orders"});
}
BOTH("all or nothing keeps nothing of four files when the last fails, the default keeps three", all_or_nothing)

static void edits(const Place& place) {
  three(place);
  REQUIRE(message(place.apply()) == "");
  // Blanks at line ends and CRLF are no edit at all; a comment is one that does not stop a run.
  place.folder.write("001_users.sql",
                     "-- gameforge: up\r\ncreate table users (id int primary key, name text not null);  \r\n-- "
                     "gameforge: down\r\ndrop "
                     "table users;\r\n");
  auto status = place.open().status().value();
  CHECK(status.entries[0].state == "applied");
  place.folder.write("001_users.sql", std::string("-- Who may log in.\n") + users);
  status = place.open().status().value();
  CHECK(status.entries[0].state == "edited");
  Report report;
  place.folder.write("004_more.sql", "create table more (x int)");
  CHECK(message(place.apply(place.settings(), {}, report)) == "");
  CHECK(report.warnings.size() == 1);

  place.folder.write("002_emails.sql", std::string(emails) + "create table sneaky (x int);\n");
  CHECK(place.open().status().value().entries[1].state == "changed");
  const auto changed = place.apply();
  REQUIRE(changed.has_error());
  CHECK(changed.error().status == Status::checksum_mismatch);
  Report repaired;
  REQUIRE(place.open().repair(gf::migrate::Repair::accept_edit, 2, "reviewed", repaired));
  CHECK(place.open().status().value().entries[1].state == "applied");
  CHECK(message(place.apply()) == "");

  place.folder.remove("003_orders.sql");
  CHECK(place.open().status().value().entries[2].state == "missing");
  const auto missing = place.apply();
  REQUIRE(missing.has_error());
  CHECK(missing.error().status == Status::not_found);
  place.folder.write("003_orders.sql", orders);

  place.folder.remove("004_more.sql");
  CHECK(place.open().status().value().entries[3].state == "unknown");
  const auto newer = place.apply();
  REQUIRE(newer.has_error());
  CHECK(newer.error().status == Status::schema_too_new);
}
BOTH("changed, missing and unknown files are told apart, and an edit is accepted on purpose", edits)

static void compatible(const Place& place) {
  three(place);
  place.folder.write(
      "004_more.sql",
      "-- compatible-back-to: 003\n-- gameforge: up\ncreate table more (x int);\n-- gameforge: down\ndrop table more;");
  REQUIRE(message(place.apply()) == "");
  place.folder.remove("004_more.sql");
  Report report;
  CHECK(message(place.apply(place.settings(), {}, report)) == "");
  CHECK(report.warnings.size() == 1);
  // The older program undoes it by the recorded text.
  CHECK(message(place.apply(rollback(4))) == "");
  check_applied(place, {"001_users", "002_emails", "003_orders"});
}
BOTH("an older program runs on a newer schema that says so, and undoes it without the file", compatible)

static void late(const Place& place) {
  place.folder.write("001_a.sql", "-- gameforge: up\ncreate table a (x int);\n-- gameforge: down\ndrop table a;");
  place.folder.write("004_d.sql", "-- gameforge: up\ncreate table d (x int);\n-- gameforge: down\ndrop table d;");
  REQUIRE(message(place.apply()) == "");
  place.folder.write("002_b.sql", "-- gameforge: up\ncreate table b (x int);\n-- gameforge: down\ndrop table b;");
  place.folder.write("003_c.sql", "-- gameforge: up\ncreate table c (x int);\n-- gameforge: down\ndrop table c;");
  const auto refused = place.apply();
  REQUIRE(refused.has_error());
  CHECK(refused.error().message.find("002_b, 003_c") != std::string::npos);
  CHECK(place.open().status().value().entries[1].state == "late");
  auto settings = place.settings();
  settings.allow_out_of_order = true;
  Report report;
  REQUIRE(message(place.apply(settings, {}, report)) == "");
  check_applied(place, {"001_a", "004_d", "002_b", "003_c"});
  REQUIRE(message(place.apply(settings, {Goal::Kind::rollback_to, 1, 0, false}, report)) == "");
  check_applied(place, {"001_a"});
}
BOTH("late files are refused by name, or run in their real order and undone by it", late)

static void depends(const Place& place) {
  place.folder.write("001_a.sql", "-- gameforge: up\ncreate table a (x int);\n-- gameforge: down\ndrop table a;");
  place.folder.write(
      "002_b.sql", "-- depends: 003\n-- gameforge: up\ninsert into c values (1);\n-- gameforge: down\ndelete from c;");
  place.folder.write("003_c.sql",
                     "-- depends: 001\n-- gameforge: up\ncreate table c (x int);\n-- gameforge: down\ndrop table c;");
  place.folder.write("004_d.sql",
                     "-- depends: 001\n-- gameforge: up\ncreate table d (x int);\n-- gameforge: down\ndrop table d;");
  REQUIRE(message(place.apply()) == "");
  check_applied(place, {"001_a", "003_c", "002_b", "004_d"});
  const auto refused = place.apply(rollback(3));
  REQUIRE(refused.has_error());
  CHECK(refused.error().message.find("002_b;") != std::string::npos);
  REQUIRE(message(place.apply(rollback(3, true))) == "");
  check_applied(place, {"001_a", "004_d"});
}
BOTH("what declares its dependencies runs behind them, and stays when others are undone", depends)

static void repeatable(const Place& place) {
  three(place);
  place.folder.write("R_names.sql", "drop view if exists names;\ncreate view names as select name from users;");
  Report report;
  REQUIRE(message(place.apply(place.settings(), {}, report)) == "");
  CHECK(report.steps.back().label == "R_names");
  Report second;
  REQUIRE(message(place.apply(place.settings(), {}, second)) == "");
  CHECK(second.steps.empty());
  place.folder.write("R_names.sql", "drop view if exists names;\ncreate view names as select name, id from users;");
  Report third;
  REQUIRE(message(place.apply(place.settings(), {}, third)) == "");
  REQUIRE(third.steps.size() == 1);
  CHECK(third.steps[0].reason == "changed");
}
BOTH("a repeatable file runs last, and again only when it changed", repeatable)

static void verify_section(const Place& place) {
  place.folder.write("001_a.sql",
                     "-- gameforge: up\ncreate table a (x int);\n-- gameforge: verify\nselect count(*) = 1 from a;\n-- "
                     "gameforge: down\ndrop "
                     "table a;");
  const auto before = place.sum();
  const auto failed = place.apply();
  REQUIRE(failed.has_error());
  CHECK(failed.error().message.starts_with("001_a.sql:4:1: "));
  CHECK(place.sum() == before);
  place.folder.write(
      "001_a.sql",
      "-- gameforge: up\ncreate table a (x int); insert into a values (1);\n-- gameforge: verify\nselect count(*) = 1 "
      "from a;\n-- gameforge: down\ndrop table a;");
  CHECK(message(place.apply()) == "");
}
BOTH("a verification that does not hold leaves nothing", verify_section)

static void baseline_and_marks(const Place& place) {
  three(place);
  {
    const auto connection = place.connect();
    REQUIRE(connection->execute("create table users (id int primary key, name text not null)"));
  }
  Report report;
  REQUIRE(place.open().baseline(1, report));
  check_applied(place, {"001_users"});
  CHECK(place.open().baseline(1, report).has_error());
  REQUIRE(message(place.apply({Goal::Kind::up, 2, 0, false})) == "");
  using gf::migrate::Repair;
  CHECK(place.open().repair(Repair::mark_applied, 2, "", report).has_error());
  REQUIRE(place.open().repair(Repair::mark_applied, 3, "made by hand", report));
  check_applied(place, {"001_users", "002_emails", "003_orders"});
  REQUIRE(place.open().repair(Repair::mark_unapplied, 3, "", report));
  CHECK(place.open().repair(Repair::mark_unapplied, 3, "", report).has_error());
  CHECK(place.open().repair(Repair::accept_edit, 9, "", report).has_error());
  REQUIRE(message(place.apply()) == "");
  check_applied(place, {"001_users", "002_emails", "003_orders"});
  const auto history = gf::migrate::History::read(*place.connect()).value();
  CHECK(std::any_of(history.rows.begin(), history.rows.end(), [](const auto& row) {
    return row.origin == "marked" && row.note == "made by hand" && !row.applied_by.empty();
  }));
}
BOTH("a baseline and marks are records like others, with who and why", baseline_and_marks)

static void irreversible(const Place& place) {
  place.folder.write("001_a.sql", "-- irreversible\n-- gameforge: up\ncreate table a (x int);");
  place.folder.write("002_b.sql", "create table b (x int);");
  REQUIRE(message(place.apply()) == "");
  const auto no_down = place.apply(rollback(2));
  REQUIRE(no_down.has_error());
  CHECK(no_down.error().message.find("no down section") != std::string::npos);
  const auto never = place.apply({Goal::Kind::rollback_to, 0, 0, false});
  REQUIRE(never.has_error());
  check_applied(place, {"001_a", "002_b"});
  CHECK(place.apply({Goal::Kind::rollback, {}, 0, false}).has_error());
  CHECK(place.apply(rollback(9)).has_error());
}
BOTH("what is irreversible, or has no down section, is not undone, nor is anything without a target", irreversible)

static void prove(const Place& place) {
  three(place);
  REQUIRE(message(place.apply({Goal::Kind::up, 1, 0, false})) == "");
  {
    const auto connection = place.connect();
    REQUIRE(connection->execute("insert into users values (1, 'a')"));
  }
  const auto before = place.sum();
  for (const bool in_place : {false, true}) {
    CAPTURE(in_place);
    Report report;
    REQUIRE(message(place.open().prove({}, in_place, report)) == "");
    CHECK(report.unchanged);
    // A column, an index and a table; on PostgreSQL that table's two constraints and its key's index too.
    CHECK(report.changes.size() == (place.sqlite() ? 3 : 6));
    REQUIRE(report.steps.size() == 2);
    CHECK(report.steps[0].done);
    CHECK_FALSE(report.steps[0].locks.empty());
    CHECK(place.sum() == before);
    check_applied(place, {"001_users"});
  }
  place.folder.write("003_orders.sql", "create table orders (id int);\ninsert into orders values (1, 2);");
  Report failing;
  const auto failed = place.open().prove({}, false, failing);
  REQUIRE(failed.has_error());
  CHECK(failed.error().message.starts_with("003_orders.sql:2:"));
  CHECK(place.sum() == before);
}
BOTH("a proof runs the plan elsewhere, tells locks and differences, and changes nothing", prove)

static void round_trip(const Place& place) {
  three(place);
  const auto good = place.open().round_trip().value();
  CHECK(good.checked == 3);
  CHECK(good.errors.empty());
  place.folder.write("002_emails.sql",
                     "-- gameforge: up\nalter table users add column email text;\ncreate index users_email on users "
                     "(email);\n-- gameforge: down\ndrop index users_email;\n");
  const auto bad = place.open().round_trip().value();
  REQUIRE_FALSE(bad.errors.empty());
  CHECK(bad.errors[0].message.find("users.email") != std::string::npos);
}
BOTH("a down section that does not lead back is found on a scratch database", round_trip)

static void drift(const Place& place) {
  three(place);
  REQUIRE(message(place.apply()) == "");
  CHECK(place.open().drift().value().empty());
  CHECK(place.open().diff().value().empty());
  {
    const auto connection = place.connect();
    REQUIRE(connection->execute("alter table users add column sneaky int"));
    REQUIRE(connection->execute("drop index users_email"));
    REQUIRE(connection->execute("create table mine (x int)"));
  }
  for (const auto& found : {place.open().drift().value(), place.open().diff().value()}) {
    REQUIRE(found.size() == 3);
    CHECK(found[0].name.find("users.sneaky") != std::string::npos);
    CHECK(found[0].expected.empty());
    CHECK(found[1].name.find("users_email") != std::string::npos);
    CHECK(found[1].found.empty());
    CHECK(found[2].name.find("mine") != std::string::npos);
  }
  const auto validated = place.open().validate().value();
  CHECK(validated.drift.size() == 3);
  CHECK(validated.errors.empty());
}
TEST_CASE("sqlite: drift and difference name each object that is not as the files have it") {
  drift(Place(gf::sql::Dialect::sqlite));
}
TEST_CASE("postgresql: drift and difference name each object that is not as the files have it") {
  Place place(gf::sql::Dialect::postgresql);
  drift(place);
}

static void cancel(const Place& place) {
  three(place);
  std::atomic<bool> cancelled = false;
  auto settings = place.settings();
  settings.cancel = &cancelled;
  settings.hooks.progress = [&](const gf::migrate::Event& event) {
    if (event.type == gf::migrate::EventType::statement && event.label == "002_emails") cancelled = true;
  };
  Report report;
  const auto result = place.apply(settings, {}, report);
  REQUIRE(result.has_error());
  CHECK(result.error().status == Status::cancelled);
  check_applied(place, {"001_users"});
  CHECK(message(place.apply()) == "");
}
BOTH("a cancel between two statements leaves the migration undone", cancel)

static void hooks(const Place& place) {
  three(place);
  std::vector<std::string> calls;
  auto settings = place.settings();
  settings.hooks.before = [&](const std::string& label, const std::string&) -> gf::Result<void> {
    calls.push_back("before " + label);
    if (label == "002_emails") return gf::Error{Status::wrong_state, "not today", {}};
    return gf::success();
  };
  settings.hooks.after = [&](const std::string& label, const std::string&) -> gf::Result<void> {
    calls.push_back("after " + label);
    return gf::success();
  };
  Report report;
  CHECK(message(place.apply(settings, {}, report)) == "not today");
  CHECK(calls == std::vector<std::string>{"before 001_users", "after 001_users", "before 002_emails"});
  check_applied(place, {"001_users"});
}
BOTH("a hook before a migration can stop it", hooks)

static void nothing_to_do(const Place& place) {
  CHECK(message(place.apply()) == "");  // An empty folder.
  CHECK(place.applied().empty());
  CHECK(place.open().status().value().entries.empty());
}
BOTH("an empty folder is nothing to do", nothing_to_do)

TEST_CASE("a folder that is not there, and a file that cannot be read, are typed errors") {
  gf::migrate::Settings settings;
  settings.folder = "/nonexistent/migrations";
  const auto missing = gf::migrate::Migrator::open(settings);
  REQUIRE(missing.has_error());
  CHECK(missing.error().status == Status::not_found);
  gf::test::TempFolder folder;
  settings.folder = folder.path();
  folder.write("001_a.sql", std::string("\x7f"
                                        "ELF\0\0\1",
                                        7));
  const auto binary = gf::migrate::Migrator::open(settings);
  REQUIRE(binary.has_error());
  CHECK(binary.error().message.starts_with("001_a.sql:1:"));
}

TEST_CASE("create makes the next numbered file, and refuses a name twice") {
  gf::test::TempFolder folder;
  const auto& clock = gf::system_clock();
  CHECK(gf::migrate::Migrator::create(folder.path(), "add user preferences", clock).value() ==
        folder.file("001_add_user_preferences.sql"));
  CHECK(gf::migrate::Migrator::create(folder.path(), "Second: One!", clock).value() ==
        folder.file("002_second_one.sql"));
  CHECK(gf::migrate::Migrator::create(folder.path(), "second one", clock).has_error());
  CHECK(gf::migrate::Migrator::create(folder.path(), "!!", clock).has_error());
  folder.write("20261124120000_x.sql", "");
  const auto stamped = gf::migrate::Migrator::create(folder.path(), "third", clock).value();
  CHECK(stamped.size() == folder.file("20261124120000_third.sql").size());
  gf::migrate::Settings settings;
  settings.folder = folder.path();
  CHECK(gf::migrate::Migrator::open(settings).has_value());
}

TEST_CASE("validate without a database finds what the files alone tell") {
  gf::test::TempFolder folder;
  folder.write("001_a.sql", "create table a (x int);");
  folder.write("003_c.sql", "-- gameforge: up\ncreate table c (x int);\nvacuum;\n-- gameforge: down\ndrop table c;");
  folder.write("20991231235959_far.sql", "create table far (x int);");
  gf::migrate::Settings settings;
  settings.folder = folder.path();
  const auto report = Place::open(settings).validate().value();
  CHECK(report.checked == 3);
  REQUIRE(report.errors.size() == 2);
  CHECK(report.errors[0].message.starts_with("003_c.sql:3:1: "));
  CHECK(report.errors[1].message.starts_with("20991231235959_far.sql:1:1: "));
  const auto has = [&](const std::string& rule) {
    return std::any_of(report.warnings.begin(), report.warnings.end(),
                       [&](const auto& one) { return one.rule == rule; });
  };
  CHECK(has("no-down"));
  CHECK(has("gap"));
}
