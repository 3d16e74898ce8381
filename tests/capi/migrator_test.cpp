// Migrations through the C ABI, on real SQLite files and a real PostgreSQL server, and looked at behind its back by a
// connection of our own.
#include "support.hpp"

#include "gameforge/gameforge.hpp"
#include "migrate/support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using gf::test::Place;
using gf::test::text_of;
using nlohmann::json;

namespace {

constexpr std::int64_t patience_us = 60'000'000;

const char* const users =
    "-- gameforge: up\n"
    "create table users (id int primary key, name text not null);\n"
    "-- gameforge: down\n"
    "drop table users;\n";
const char* const emails =
    "-- gameforge: up\n"
    "alter table users add column email text;\n"
    "create index users_email on users (email);\n"
    "-- gameforge: down\n"
    "drop index users_email;\n"
    "alter table users drop column email;\n";
const char* const orders =
    "-- gameforge: up\n"
    "create table orders (id int primary key, owner int references users (id));\n"
    "-- gameforge: down\n"
    "drop table orders;\n";

#define BOTH(name, function)                                                \
  TEST_CASE("sqlite: " name) { function(Place(gf::sql::Dialect::sqlite)); } \
  TEST_CASE("postgresql: " name) { function(Place(gf::sql::Dialect::postgresql)); }

void three(const Place& place) {
  place.folder.write("001_users.sql", users);
  place.folder.write("002_emails.sql", emails);
  place.folder.write("003_orders.sql", orders);
}

/// A migrator of a place, closed with it.
class Opened {
 public:
  explicit Opened(const Place& place, const std::function<void(gf_migrator_options&)>& change = nullptr) {
    gf_migrator_options options = GF_MIGRATOR_OPTIONS_INIT;
    options.url = place.url.c_str();
    options.folder = place.folder.path().c_str();
    options.tool_version = "test 7";
    if (change) change(options);
    status = gf_migrator_open(&options, &migrator);
    if (status != GF_OK) message = gf_last_error_message();
  }
  ~Opened() { CHECK(gf_migrator_close(migrator, patience_us) == GF_OK); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  /// Waits for a work that was started, and gives its status; 1000 where it could not be started.
  std::uint32_t end(gf_status started) {
    if (started != GF_OK) {
      message = gf_last_error_message();
      return 1000;
    }
    gf_migrator_info fresh = GF_MIGRATOR_INFO_INIT;
    info = fresh;
    REQUIRE(gf_migrator_wait(migrator, patience_us, &info) == GF_OK);
    CHECK(info.running == 0);
    const auto error =
        json::parse(text_of([this](char* b, std::uint64_t* s) { return gf_migrator_error_json(migrator, b, s); }));
    message = error.value("message", "");
    CHECK(error.empty() == (info.status == GF_OK));
    if (info.status != GF_OK) CHECK(error.at("status") == info.status);
    return info.status;
  }
  std::uint32_t apply() { return end(gf_migrator_apply(migrator, nullptr)); }
  std::uint32_t apply(gf_migration_goal_kind kind, std::int64_t version, std::uint32_t steps = 0,
                      std::uint32_t cascade = 0) {
    const auto goal = goal_of(kind, version, steps, cascade);
    return end(gf_migrator_apply(migrator, &goal));
  }
  static gf_migration_goal goal_of(gf_migration_goal_kind kind, std::int64_t version, std::uint32_t steps = 0,
                                   std::uint32_t cascade = 0) {
    gf_migration_goal goal = GF_MIGRATION_GOAL_INIT;
    goal.kind = kind;
    goal.version = version;
    goal.steps = steps;
    goal.cascade = cascade;
    return goal;
  }
  json report() const {
    return json::parse(text_of([this](char* b, std::uint64_t* s) { return gf_migrator_report_json(migrator, b, s); }));
  }
  std::string entry_text(std::uint32_t index, gf_migration_text which) const {
    return text_of([&](char* b, std::uint64_t* s) { return gf_migrator_entry_text(migrator, index, which, b, s); });
  }
  std::vector<std::pair<gf_migration_event, std::string>> events() const {
    std::vector<std::pair<gf_migration_event, std::string>> all;
    for (;;) {
      gf_migration_event event = GF_MIGRATION_EVENT_INIT;
      char text[4096];
      std::uint64_t size = sizeof text;
      const auto got = gf_migrator_poll(migrator, &event, text, &size);
      if (got == GF_ERR_WOULD_BLOCK) return all;
      REQUIRE(got == GF_OK);
      all.emplace_back(event, text);
    }
  }

  gf_migrator* migrator = nullptr;
  gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
  gf_status status;
  std::string message;
};

std::vector<std::string> labels(const json& steps) {
  std::vector<std::string> out;
  for (const auto& step : steps) out.push_back(step.at("migration").get<std::string>());
  return out;
}
using Labels = std::vector<std::string>;

}  // namespace

static void way_up_and_down(const Place& place) {
  three(place);
  const auto empty = place.sum();
  Opened opened(place);
  REQUIRE(opened.status == GF_OK);

  // The plan writes nothing, not even its tables.
  REQUIRE(opened.end(gf_migrator_plan(opened.migrator, nullptr)) == GF_OK);
  CHECK(opened.info.work == GF_MIGRATOR_WORK_PLAN);
  CHECK(opened.info.step_count == 3);
  CHECK(opened.info.done_count == 0);
  CHECK(labels(opened.report().at("steps")) == Labels{"001_users", "002_emails", "003_orders"});
  CHECK(opened.report().at("steps")[1].at("statements").size() == 2);
  CHECK(place.sum() == empty);
  CHECK(place.applied().empty());

  const auto to_two = Opened::goal_of(GF_MIGRATION_GOAL_UP, 2);
  REQUIRE(opened.end(gf_migrator_apply(opened.migrator, &to_two)) == GF_OK);
  CHECK(place.applied() == Labels{"001_users", "002_emails"});
  REQUIRE(opened.apply() == GF_OK);
  CHECK(opened.info.done_count == 1);
  CHECK(opened.info.apply_us > 0);
  const auto whole = place.sum();
  CHECK(place.applied() == Labels{"001_users", "002_emails", "003_orders"});

  // What the events told, in their order.
  const auto events = opened.events();
  std::vector<std::uint32_t> types;
  for (const auto& [event, text] : events) types.push_back(event.type);
  CHECK(types == std::vector<std::uint32_t>{GF_MIGRATION_EVENT_CHECKING, GF_MIGRATION_EVENT_STARTED,
                                            GF_MIGRATION_EVENT_STATEMENT, GF_MIGRATION_EVENT_FINISHED,
                                            GF_MIGRATION_EVENT_ENDED});
  REQUIRE(events.size() == 5);
  CHECK(events[1].second == "003_orders");
  CHECK(events[1].first.version == 3);
  CHECK(events[1].first.direction == GF_MIGRATION_UP);
  CHECK(events[2].first.statement == 1);
  CHECK(events[2].first.statement_count == 1);
  CHECK(events[4].first.status == GF_OK);
  CHECK(events[4].first.direction == 0);

  // The plan of a rollback says what loses data.
  const auto one = Opened::goal_of(GF_MIGRATION_GOAL_ROLLBACK, 1);
  REQUIRE(opened.end(gf_migrator_plan(opened.migrator, &one)) == GF_ERR_WRONG_STATE);
  CHECK(opened.message.find("002_emails") != std::string::npos);
  CHECK(opened.message.find("003_orders") != std::string::npos);
  const auto all = Opened::goal_of(GF_MIGRATION_GOAL_ROLLBACK, 1, 0, 1);
  REQUIRE(opened.end(gf_migrator_plan(opened.migrator, &all)) == GF_OK);
  CHECK(labels(opened.report().at("steps")) == Labels{"003_orders", "002_emails", "001_users"});
  CHECK(opened.info.drop_count >= 3);
  CHECK(place.sum() == whole);

  REQUIRE(opened.apply(GF_MIGRATION_GOAL_ROLLBACK, 3) == GF_OK);
  CHECK(place.applied() == Labels{"001_users", "002_emails"});
  REQUIRE(opened.apply(GF_MIGRATION_GOAL_REDO, 0) == GF_OK);
  CHECK(opened.info.done_count == 2);
  CHECK(place.applied() == Labels{"001_users", "002_emails"});
  REQUIRE(opened.apply() == GF_OK);
  CHECK(place.sum() == whole);
  REQUIRE(opened.apply(GF_MIGRATION_GOAL_ROLLBACK_TO, 1) == GF_OK);
  CHECK(place.applied() == Labels{"001_users"});
  REQUIRE(opened.apply() == GF_OK);
  REQUIRE(opened.apply(GF_MIGRATION_GOAL_ROLLBACK_STEPS, 0, 2) == GF_OK);
  CHECK(place.applied() == Labels{"001_users"});
  REQUIRE(opened.apply(GF_MIGRATION_GOAL_ROLLBACK_TO, 0) == GF_OK);
  CHECK(place.applied().empty());
  CHECK(place.sum() == empty);
}
BOTH("plan, apply, roll back, redo, each to where it was asked", way_up_and_down)

static void status_as_structs(const Place& place) {
  three(place);
  place.folder.write("R_views.sql", "create view names as select name from users;\n");
  Opened opened(place, [](gf_migrator_options& options) { options.applied_by = "the tests"; });
  REQUIRE(opened.status == GF_OK);
  const auto to_two = Opened::goal_of(GF_MIGRATION_GOAL_UP, 2);
  REQUIRE(opened.end(gf_migrator_apply(opened.migrator, &to_two)) == GF_OK);
  REQUIRE(opened.end(gf_migrator_status(opened.migrator)) == GF_OK);
  CHECK(opened.info.highest_applied == 2);
  CHECK(opened.info.pending_count >= 1);
  CHECK(opened.info.problem_count == 0);
  REQUIRE(opened.info.entry_count == 4);
  gf_migration_entry entry = GF_MIGRATION_ENTRY_INIT;
  REQUIRE(gf_migrator_entry(opened.migrator, 0, &entry) == GF_OK);
  CHECK(entry.state == GF_MIGRATION_APPLIED);
  CHECK(entry.version == 1);
  CHECK(entry.duration_us > 0);
  CHECK(opened.entry_text(0, GF_MIGRATION_TEXT_LABEL) == "001_users");
  CHECK(opened.entry_text(0, GF_MIGRATION_TEXT_APPLIED_BY) == "the tests");
  CHECK(opened.entry_text(0, GF_MIGRATION_TEXT_ORIGIN) == "run");
  CHECK(opened.entry_text(0, GF_MIGRATION_TEXT_APPLIED_AT).size() == 27);
  CHECK(opened.entry_text(0, GF_MIGRATION_TEXT_DETAIL).empty());
  REQUIRE(gf_migrator_entry(opened.migrator, 2, &entry) == GF_OK);
  CHECK(entry.state == GF_MIGRATION_PENDING);
  CHECK(entry.version == 3);
  CHECK(opened.entry_text(2, GF_MIGRATION_TEXT_APPLIED_AT).empty());
  CHECK(gf_migrator_entry(opened.migrator, 4, &entry) == GF_ERR_NOT_FOUND);
  std::uint64_t size = 0;
  CHECK(gf_migrator_entry_text(opened.migrator, 0, 6, nullptr, &size) == GF_ERR_UNSUPPORTED);

  // What the records and the files do not agree upon has a status of its own, and the state says which it is.
  place.folder.write("001_users.sql", std::string("-- a comment\n") + users);
  place.folder.write("002_emails.sql", std::string(emails) + "drop table users;\n");
  Opened again(place);
  REQUIRE(again.end(gf_migrator_status(again.migrator)) == GF_OK);
  REQUIRE(gf_migrator_entry(again.migrator, 0, &entry) == GF_OK);
  CHECK(entry.state == GF_MIGRATION_EDITED);
  REQUIRE(gf_migrator_entry(again.migrator, 1, &entry) == GF_OK);
  CHECK(entry.state == GF_MIGRATION_CHANGED);
  CHECK(again.entry_text(1, GF_MIGRATION_TEXT_DETAIL).find("v1:") != std::string::npos);
  CHECK(again.info.problem_count == 1);
  CHECK(again.info.problem_status == GF_ERR_CHECKSUM_MISMATCH);
  CHECK(again.apply() == GF_ERR_CHECKSUM_MISMATCH);

  // Another work's entries are none.
  CHECK(gf_migrator_entry(again.migrator, 0, &entry) == GF_ERR_NOT_FOUND);
}
BOTH("a status is given as structs, and tells apart what is not as recorded", status_as_structs)

static void failures_with_places(const Place& place) {
  place.folder.write("001_users.sql", users);
  place.folder.write("002_broken.sql",
                     "-- gameforge: up\n"
                     "create table more (id int);\n"
                     "\n"
                     "insert into more (id)\n"
                     "  values (1), (no_such_column);\n");
  Opened opened(place, [](gf_migrator_options& options) { options.flags = GF_MIGRATOR_NO_CHECKS; });
  REQUIRE(opened.status == GF_OK);
  const auto status = opened.apply();
  CHECK(status / 100 >= 4);
  CHECK(opened.info.line == 5);
  CHECK(opened.info.column >= 3);
  CHECK(opened.info.statement_number == 2);
  CHECK(opened.info.done_count == 1);
  CHECK(opened.message.find("002_broken.sql:5:") == 0);
  const auto failure = opened.report().at("failure");
  CHECK(failure.at("file") == "002_broken.sql");
  CHECK(failure.at("line") == 5);
  CHECK(failure.at("statement_number") == 2);
  CHECK(failure.at("advice").get<std::string>().find("run again") != std::string::npos);
  const auto events = opened.events();
  REQUIRE(events.size() > 2);
  CHECK(events.back().first.type == GF_MIGRATION_EVENT_ENDED);
  CHECK(events.back().first.status == status);
  CHECK(events[events.size() - 2].first.type == GF_MIGRATION_EVENT_FAILED);
  CHECK(events[events.size() - 2].second.find("002_broken: 002_broken.sql:5:") == 0);
  CHECK(place.applied() == Labels{"001_users"});

  // A section that there is not is told before anything runs; a header, or a version twice, when it is opened.
  place.folder.write("002_broken.sql", "-- gameforge: up\ncreate table more (id int);\n-- gameforge: sideways\n");
  Opened sideways(place);
  CHECK(sideways.apply() / 100 <= 4);
  CHECK(sideways.message.find("002_broken.sql:3:") == 0);
  CHECK(sideways.info.line == 3);
  place.folder.write("002_broken.sql", "-- gameforge: timeout: soon\n-- gameforge: up\ncreate table more (id int);\n");
  Opened bad_header(place);
  CHECK(bad_header.status == GF_ERR_INVALID_ARGUMENT);
  CHECK(bad_header.message.find("002_broken.sql:1:") == 0);
  place.folder.write("002_broken.sql", "create table more (id int);\n");
  place.folder.write("02_again.sql", "create table again (id int);\n");
  Opened twice(place);
  CHECK(twice.status == GF_ERR_ALREADY_EXISTS);
  CHECK(twice.migrator == nullptr);
}
BOTH("what fails says file, line, column, statement and what is kept", failures_with_places)

static void hooks(const Place& place) {
  three(place);
  struct Seen {
    std::vector<std::string> calls;
    gf_status second_up = GF_OK;
  } seen;
  const auto with_hook = [&](gf_migrator_options& options) {
    options.hook_user_data = &seen;
    options.hook = [](void* user_data, const char* label, std::uint32_t direction, std::uint32_t moment) {
      auto& told = *static_cast<Seen*>(user_data);
      told.calls.push_back(std::string(moment == GF_MIGRATION_BEFORE ? "before " : "after ") + label +
                           (direction == GF_MIGRATION_UP ? " up" : " down"));
      return told.calls.back() == "before 002_emails up" ? told.second_up : GF_OK;
    };
  };
  Opened opened(place, with_hook);
  seen.second_up = GF_ERR_OVER_BUDGET;
  CHECK(opened.apply() == GF_ERR_OVER_BUDGET);
  CHECK(seen.calls == Labels{"before 001_users up", "after 001_users up", "before 002_emails up"});
  CHECK(place.applied() == Labels{"001_users"});
  seen = {};
  CHECK(opened.apply() == GF_OK);
  CHECK(opened.apply(GF_MIGRATION_GOAL_ROLLBACK_STEPS, 0, 1) == GF_OK);
  CHECK(seen.calls == Labels{"before 002_emails up", "after 002_emails up", "before 003_orders up",
                             "after 003_orders up", "before 003_orders down", "after 003_orders down"});
}
BOTH("hooks are called before and after each migration, and may end the run", hooks)

// A hook that holds the run until it is let go: so a test knows where it is without sleeping.
struct Gate {
  std::atomic<bool> reached{false};
  std::atomic<bool> open{false};
  std::atomic<bool> left{false};
  gf_migrator* migrator = nullptr;
  gf_status close_inside = GF_OK;
  gf_status start_inside = GF_OK;

  static gf_status hook(void* user_data, const char*, std::uint32_t, std::uint32_t moment) {
    auto& gate = *static_cast<Gate*>(user_data);
    if (moment == GF_MIGRATION_AFTER) return GF_OK;
    if (gate.migrator != nullptr) {
      gate.close_inside = gf_migrator_close(gate.migrator, 0);
      gate.start_inside = gf_migrator_status(gate.migrator);
    }
    gate.reached = true;
    while (!gate.open) std::this_thread::yield();
    gate.left = true;  // The last touch of the gate.
    return GF_OK;
  }
  void wait_until_reached() const {
    while (!reached) std::this_thread::yield();
  }
};

static void cancelled(const Place& place) {
  three(place);
  Gate gate;
  Opened opened(place, [&](gf_migrator_options& options) {
    options.hook = Gate::hook;
    options.hook_user_data = &gate;
  });
  REQUIRE(gf_migrator_apply(opened.migrator, nullptr) == GF_OK);
  gate.wait_until_reached();

  // It runs: another work is refused, a wait without time ends, and neither harms it.
  CHECK(gf_migrator_status(opened.migrator) == GF_ERR_WRONG_STATE);
  CHECK(gf_migrator_wait(opened.migrator, 0, &opened.info) == GF_ERR_TIMED_OUT);
  CHECK(opened.info.running == 1);
  CHECK(opened.info.work == GF_MIGRATOR_WORK_APPLY);
  CHECK(opened.report().empty());
  std::thread other([&] {
    CHECK(gf_migrator_cancel(opened.migrator) == GF_OK);
    gate.open = true;
  });
  CHECK(opened.end(GF_OK) == GF_ERR_CANCELLED);
  other.join();
  CHECK(place.applied().empty());  // Seen before its first statement, and nothing is kept.
  CHECK(opened.events().back().first.status == GF_ERR_CANCELLED);

  // The wish was that work's own.
  CHECK(gf_migrator_cancel(opened.migrator) == GF_OK);
  CHECK(opened.apply() == GF_OK);
  CHECK(place.applied().size() == 3);
}
BOTH("a run is cancelled from another thread, and the next one is not", cancelled)

/// A run is held in its second statement of three by a lock of ours, and cancelled there: the third is not begun.
static void cancelled_between_statements(bool transaction) {
  const Place place(gf::sql::Dialect::postgresql);
  place.folder.write("001_three.sql", std::string(transaction ? "" : "-- gameforge: transaction: off\n") +
                                          "-- gameforge: up\ncreate table a (id int);\nselect pg_advisory_lock(42);\n"
                                          "create table c (id int);\n");
  Opened opened(place, [](gf_migrator_options& options) { options.lock_timeout_us = patience_us; });
  const auto ours = place.connect();
  REQUIRE(ours->query("select pg_advisory_lock(42)").has_value());
  REQUIRE(gf_migrator_apply(opened.migrator, nullptr) == GF_OK);
  for (;;) {
    const auto waiting = ours->query("select 1 from pg_locks where locktype = 'advisory' and not granted");
    REQUIRE(waiting.has_value());
    if (!waiting.value().empty()) break;
    REQUIRE(gf_migrator_wait(opened.migrator, 5000, nullptr) == GF_ERR_TIMED_OUT);
  }
  REQUIRE(gf_migrator_cancel(opened.migrator) == GF_OK);
  REQUIRE(ours->query("select pg_advisory_unlock(42)").has_value());
  CHECK(opened.end(GF_OK) == GF_ERR_CANCELLED);
  const auto tables = ours->query("select to_regclass('a') is not null, to_regclass('c') is not null").value();
  CHECK(tables.integer(0, 0) == (transaction ? 0 : 1));
  CHECK(tables.integer(0, 1) == 0);
  REQUIRE(opened.end(gf_migrator_status(opened.migrator)) == GF_OK);
  gf_migration_entry entry = GF_MIGRATION_ENTRY_INIT;
  REQUIRE(gf_migrator_entry(opened.migrator, 0, &entry) == GF_OK);
  CHECK(entry.state == (transaction ? GF_MIGRATION_PENDING : GF_MIGRATION_UNFINISHED));
  if (!transaction)
    CHECK(opened.entry_text(0, GF_MIGRATION_TEXT_DETAIL).find("2 statements done") != std::string::npos);
  // The next run does the rest.
  CHECK(opened.apply() == GF_OK);
  CHECK(place.applied() == Labels{"001_three"});
}
TEST_CASE("postgresql: a run is cancelled between two statements, and nothing of its migration is kept") {
  cancelled_between_statements(true);
}
TEST_CASE("postgresql: a file outside a transaction is cancelled between two statements, and goes on from there") {
  cancelled_between_statements(false);
}

static void closed_while_running(const Place& place) {
  three(place);
  Gate gate;
  gf_migrator_options options = GF_MIGRATOR_OPTIONS_INIT;
  options.url = place.url.c_str();
  options.folder = place.folder.path().c_str();
  options.hook = Gate::hook;
  options.hook_user_data = &gate;
  gf_migrator* migrator = nullptr;
  REQUIRE(gf_migrator_open(&options, &migrator) == GF_OK);
  gate.migrator = migrator;
  REQUIRE(gf_migrator_apply(migrator, nullptr) == GF_OK);
  gate.wait_until_reached();
  CHECK(gate.close_inside == GF_ERR_WRONG_STATE);
  CHECK(gate.start_inside == GF_ERR_WRONG_STATE);
  gate.migrator = nullptr;

  CHECK(gf_migrator_close(migrator, 1000) == GF_ERR_TIMED_OUT);
  // The handle is gone all the same.
  CHECK(gf_migrator_close(migrator, 0) == GF_ERR_INVALID_HANDLE);
  CHECK(gf_migrator_apply(migrator, nullptr) == GF_ERR_INVALID_HANDLE);
  CHECK(gf_migrator_wait(migrator, 0, nullptr) == GF_ERR_INVALID_HANDLE);
  CHECK(gf_migrator_cancel(migrator) == GF_ERR_INVALID_HANDLE);
  gate.open = true;
  while (!gate.left) std::this_thread::yield();
  // It ends behind the call, with nothing applied; the next migrator finds the way free.
  Opened opened(place);
  CHECK(opened.apply() == GF_OK);
  CHECK(place.applied().size() == 3);
}
BOTH("closed while it runs, it is cancelled, and its handle is gone at once", closed_while_running)

static void files_of_the_host(const Place& place) {
  const char* const names[] = {"002_emails.sql", "001_users.sql", "R_views.sql"};
  const char* const texts[] = {emails,
                               "-- gameforge: variables: prefix, unused = none\n-- gameforge: up\n"
                               "create table users (id int primary key, name text not null);\n"
                               "insert into users values (1, '${prefix} name');\n",
                               "drop view if exists user_names;\ncreate view user_names as select name from users;\n"};
  const char* const variables[] = {"prefix"};
  const char* const values[] = {"any"};
  const auto embedded = [&](gf_migrator_options& options) {
    options.folder = nullptr;
    options.file_names = names;
    options.file_texts = texts;
    options.file_count = 3;
    options.variable_names = variables;
    options.variable_values = values;
    options.variable_count = 1;
  };
  Opened opened(place, embedded);
  CAPTURE(opened.message);
  REQUIRE(opened.status == GF_OK);
  REQUIRE(opened.apply() == GF_OK);
  CHECK(place.applied() == Labels{"001_users", "002_emails"});
  const auto connection = place.connect();
  CHECK(connection->query("select name from user_names").value().text(0, 0) == "any name");
  CHECK(connection->query("select tool_version from gameforge_migrations").value().text(0, 0) == "test 7");
  CHECK(opened.apply() == GF_OK);
  CHECK(opened.info.step_count == 0);
}
BOTH("files that the host brings along, with variables, a repeatable one among them", files_of_the_host)

static void other_works(const Place& place) {
  three(place);
  Opened opened(place);
  REQUIRE(opened.end(gf_migrator_drift(opened.migrator)) == GF_ERR_WRONG_STATE);

  // Proved, and nothing is there after.
  const auto empty = place.sum();
  REQUIRE(opened.end(gf_migrator_prove(opened.migrator, nullptr, 0)) == GF_OK);
  CHECK(opened.report().at("unchanged") == true);
  CHECK(opened.report().at("changes").size() >= 3);
  CHECK(opened.info.done_count == 3);
  REQUIRE(opened.end(gf_migrator_prove(opened.migrator, nullptr, 1)) == GF_OK);
  CHECK(opened.report().at("unchanged") == true);
  CHECK(place.sum() == empty);
  CHECK(place.applied().empty());

  REQUIRE(opened.end(gf_migrator_round_trip(opened.migrator)) == GF_OK);
  CHECK(opened.info.step_count == 3);
  CHECK(opened.info.problem_count == 0);
  CHECK(place.sum() == empty);

  REQUIRE(opened.apply() == GF_OK);
  REQUIRE(opened.end(gf_migrator_validate(opened.migrator)) == GF_OK);
  CHECK(opened.info.problem_count == 0);
  REQUIRE(opened.end(gf_migrator_diff(opened.migrator)) == GF_OK);
  CHECK(opened.info.problem_count == 0);
  REQUIRE(opened.end(gf_migrator_dump(opened.migrator)) == GF_OK);
  const auto dump = opened.report().at("dump").get<std::string>();
  CHECK(dump.find("users_email") != std::string::npos);

  REQUIRE(static_cast<bool>(place.connect()->execute("drop index users_email")));
  REQUIRE(opened.end(gf_migrator_diff(opened.migrator)) == GF_OK);
  CHECK(opened.info.problem_count == 1);
  CHECK(opened.info.problem_status == GF_ERR_SCHEMA_DRIFT);
  CHECK(opened.report().at("differences")[0].at("name").get<std::string>().find("users_email") != std::string::npos);
  REQUIRE(opened.end(gf_migrator_drift(opened.migrator)) == GF_OK);
  CHECK(opened.info.problem_count == 1);
  REQUIRE(opened.end(gf_migrator_validate(opened.migrator)) == GF_OK);
  CHECK(opened.info.problem_status == GF_ERR_SCHEMA_DRIFT);
}
BOTH("prove, round trip, validate, diff, drift and dump say what there is", other_works)

static void records_by_hand(const Place& place) {
  three(place);
  REQUIRE(static_cast<bool>(place.connect()->execute("create table users (id int primary key, name text not null)")));
  Opened opened(place);
  CHECK(opened.end(gf_migrator_baseline(opened.migrator, 9)) == GF_ERR_NOT_FOUND);
  REQUIRE(opened.end(gf_migrator_baseline(opened.migrator, 1)) == GF_OK);
  CHECK(opened.end(gf_migrator_baseline(opened.migrator, 1)) == GF_ERR_WRONG_STATE);
  REQUIRE(opened.apply() == GF_OK);
  CHECK(opened.info.done_count == 2);
  CHECK(opened.end(gf_migrator_repair(opened.migrator, GF_MIGRATION_MARK_UNAPPLIED, 3, "it was dropped by hand")) ==
        GF_OK);
  CHECK(place.applied() == Labels{"001_users", "002_emails"});
  CHECK(opened.end(gf_migrator_repair(opened.migrator, GF_MIGRATION_MARK_APPLIED, 3, nullptr)) == GF_OK);
  CHECK(place.applied() == Labels{"001_users", "002_emails", "003_orders"});
  place.folder.write("003_orders.sql", std::string(orders) + "select 1;\n");
  Opened edited(place);
  CHECK(edited.apply() == GF_ERR_CHECKSUM_MISMATCH);
  CHECK(edited.end(gf_migrator_repair(edited.migrator, GF_MIGRATION_ACCEPT_EDIT, 3, "the down part only")) == GF_OK);
  CHECK(edited.apply() == GF_OK);
  const auto notes =
      place.connect()->query("select note from gameforge_migrations where note <> '' order by id").value();
  bool told = false;
  for (std::size_t row = 0; row < notes.rows.size(); ++row) {
    told = told || notes.text(row, 0).find("it was dropped by hand") != std::string::npos;
  }
  CHECK(told);
}
BOTH("a baseline and the three repairs change the records alone", records_by_hand)

TEST_CASE("a file is made from a name, and asking for the size of its path makes none") {
  const gf::test::TempFolder folder;
  folder.write("007_users.sql", users);
  const auto files = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) count += entry.is_regular_file();
    return count;
  };
  const auto call = [&](char* buffer, std::uint64_t* size) {
    return gf_migration_create(folder.path().c_str(), "add user preferences", buffer, size);
  };
  std::uint64_t size = 0;
  REQUIRE(call(nullptr, &size) == GF_OK);
  CHECK(files() == 1);
  char small[8];
  size = sizeof small;
  CHECK(call(small, &size) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(files() == 1);
  CHECK(text_of(call) == folder.file("008_add_user_preferences.sql"));
  CHECK(files() == 2);
  size = 0;
  CHECK(call(nullptr, &size) == GF_ERR_ALREADY_EXISTS);
  CHECK(gf_migration_create(folder.path().c_str(), "!?", nullptr, &size) == GF_ERR_INVALID_ARGUMENT);
  // What was made is a migration that opens.
  gf_migrator_options options = GF_MIGRATOR_OPTIONS_INIT;
  options.folder = folder.path().c_str();
  gf_migrator* migrator = nullptr;
  REQUIRE(gf_migrator_open(&options, &migrator) == GF_OK);
  CHECK(gf_migrator_validate(migrator) == GF_OK);
  CHECK(gf_migrator_wait(migrator, patience_us, nullptr) == GF_OK);
  CHECK(gf_migrator_close(migrator, 0) == GF_OK);
}

TEST_CASE("without a database the files are validated, and what needs one says so") {
  const Place place(gf::sql::Dialect::sqlite);
  three(place);
  place.folder.write("004_later.sql", "-- gameforge: up\ncreate table later (id int);\ncreate tabel x (id int);\n");
  Opened opened(place, [](gf_migrator_options& options) { options.url = nullptr; });
  REQUIRE(opened.end(gf_migrator_validate(opened.migrator)) == GF_OK);
  CHECK(opened.info.problem_count == 1);
  CHECK(opened.info.problem_status == GF_ERR_SYNTAX_ERROR);
  CHECK(opened.report().at("errors")[0].at("message").get<std::string>().find("004_later.sql:3:") == 0);
  CHECK(opened.end(gf_migrator_status(opened.migrator)) == GF_ERR_INVALID_ARGUMENT);
  CHECK(opened.apply() == GF_ERR_INVALID_ARGUMENT);
}

TEST_CASE("no message, report or event has the password") {
  const Place place(gf::sql::Dialect::postgresql);
  three(place);
  const auto host = place.url.substr(place.url.find("?host="));
  const std::string wrong = "postgresql://locked:hunter2secret@/postgres" + host;
  Opened opened(place, [&](gf_migrator_options& options) { options.url = wrong.c_str(); });
  for (const auto call : {gf_migrator_status, gf_migrator_validate, gf_migrator_round_trip, gf_migrator_dump}) {
    const auto status = opened.end(call(opened.migrator));
    CHECK(status == GF_ERR_UNAUTHORISED);
    CHECK(opened.message.find("hunter2secret") == std::string::npos);
    CHECK(opened.report().dump().find("hunter2secret") == std::string::npos);
    for (const auto& [event, text] : opened.events()) CHECK(text.find("hunter2secret") == std::string::npos);
  }
  const std::string right = "postgresql://locked:right@/postgres" + host;
  Opened status(place, [&](gf_migrator_options& options) { options.url = right.c_str(); });
  REQUIRE(status.end(gf_migrator_status(status.migrator)) == GF_OK);
  const auto shown = status.report().at("database").get<std::string>();
  CHECK(shown.find("locked") != std::string::npos);
  CHECK(shown.find("right") == std::string::npos);
}

static void from_cpp(const Place& place) {
  three(place);
  std::vector<std::string> seen;
  gameforge::MigratorOptions options;
  options.url = place.url;
  options.folder = place.folder.path();
  options.applied_by = "C++";
  options.hook = [&](const char* label, gf_migration_direction, gf_migration_moment moment) {
    if (moment == GF_MIGRATION_BEFORE) seen.emplace_back(label);
    return std::string(label) != "003_orders";
  };
  gameforge::Migrator migrator(options);
  migrator.apply();
  CHECK_THROWS_AS(migrator.wait(), gameforge::Error);
  CHECK(seen == Labels{"001_users", "002_emails", "003_orders"});
  gf_migration_event event;
  std::string text;
  REQUIRE(migrator.poll(event, text));
  CHECK(event.type == GF_MIGRATION_EVENT_CHECKING);
  REQUIRE(migrator.poll(event, text));
  CHECK(text == "001_users");
  migrator.read_status();
  CHECK(migrator.wait().entry_count == 3);
  auto moved = std::move(migrator);
  const auto entries = moved.entries();
  REQUIRE(entries.size() == 3);
  CHECK(entries[1].label == "002_emails");
  CHECK(entries[1].state == GF_MIGRATION_APPLIED);
  CHECK(entries[1].applied_by == "C++");
  CHECK(entries[2].state == GF_MIGRATION_PENDING);
  moved.apply(gameforge::MigrationGoal::rollback_to(0));
  moved.wait();
  CHECK(json::parse(moved.report_json()).at("steps").size() == 2);
  moved.apply(gameforge::MigrationGoal::rollback(7));
  try {
    moved.wait();
    CHECK(false);
  } catch (const gameforge::Error& error) {
    CHECK(error.status() == GF_ERR_NOT_FOUND);
    CHECK(std::string(error.what()).find('7') != std::string::npos);
  }
  CHECK(moved.close(std::chrono::seconds(10)));
  CHECK_THROWS_AS(moved.read_status(), gameforge::Error);
}
BOTH("from C++: works, events, entries and errors", from_cpp)
