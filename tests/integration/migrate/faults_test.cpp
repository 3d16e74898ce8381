// What goes wrong from outside: locks, full disks, refused logins, servers that die, files outside a transaction that
// stop.
#include "support.hpp"

#include "migrate/runner.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

using gf::Status;
using gf::migrate::Goal;
using gf::migrate::Repair;
using gf::migrate::Report;
using gf::sql::Dialect;
using gf::test::Place;
using gf::test::PostgresServer;

namespace {

std::string message(const gf::Result<void>& result) { return result ? "" : result.error().message; }

std::int64_t count(const Place& place, const std::string& query) {
  const auto connection = place.connect();
  const auto rows = connection->query(query);
  REQUIRE(rows.has_value());
  return rows.value().integer(0, 0);
}

}  // namespace

TEST_CASE("sqlite: a database that another process writes is waited for, and the wait is bounded and told") {
  Place place(Dialect::sqlite);
  place.folder.write("001_a.sql", "create table a (x int)");
  const auto writer = place.connect();
  REQUIRE(writer->execute("create table other (x int)"));
  REQUIRE(writer->execute("begin immediate"));
  auto settings = place.settings();
  settings.lock_wait_us = 300'000;
  int waits = 0;
  settings.hooks.progress = [&](const gf::migrate::Event& event) {
    waits += event.type == gf::migrate::EventType::waiting ? 1 : 0;
  };
  Report report;
  const auto refused = place.apply(settings, {}, report);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::locked);
  // The writer is this very process, and the message names it.
  CHECK(refused.error().message.find("process " + std::to_string(getpid())) != std::string::npos);
  CHECK(waits > 0);
  REQUIRE(writer->execute("rollback"));
  CHECK(message(place.apply(settings, {}, report)) == "");
}

TEST_CASE("sqlite: a file that may not be written, is no database, or is a folder, is a typed error") {
  Place place(Dialect::sqlite);
  place.folder.write("001_a.sql", "create table a (x int)");
  place.other.write("x.db",
                    "this is no database, though it is long enough to be looked at as one, is it not? no, it is none.");
  auto result = place.apply();
  REQUIRE(result.has_error());
  CHECK(result.error().status == Status::corrupt_file);
  place.other.remove("x.db");
  mkdir(place.other.file("x.db").c_str(), 0700);
  result = place.apply();
  REQUIRE(result.has_error());
  CHECK(result.error().status == Status::io_error);
  rmdir(place.other.file("x.db").c_str());
  REQUIRE(message(place.apply()) == "");
  place.folder.write("002_b.sql", "create table b (x int)");
  // Root may write what is read only, so the database says it by its own means.
  {
    const auto connection = place.connect();
    REQUIRE(connection->execute(
        "create trigger no_more before insert on gameforge_migrations begin select raise(abort, 'read only'); end"));
  }
  result = place.apply();
  REQUIRE(result.has_error());
  CHECK(place.applied() == std::vector<std::string>{"001_a"});
  CHECK(count(place, "select count(*) from sqlite_schema where name = 'b'") == 0);
}

TEST_CASE("sqlite: a disk that is full in the middle leaves the database as it was") {
  Place place(Dialect::sqlite);
  place.folder.write("001_a.sql", "create table a (x blob)");
  REQUIRE(message(place.apply()) == "");
  const auto before = place.sum();
  place.folder.write("002_fill.sql",
                     "create table b (x int);\nwith recursive c(i) as (select 1 union all select i + 1 from c where i "
                     "< 4000) insert into "
                     "a select randomblob(4096) from c;");
  // A file size limit stops writes as a full disk does (SIGXFSZ ignored, the write gives EFBIG).
  signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  rlimit small = old;
  small.rlim_cur = 2 << 20;
  setrlimit(RLIMIT_FSIZE, &small);
  const auto result = place.apply();
  setrlimit(RLIMIT_FSIZE, &old);
  REQUIRE(result.has_error());
  CHECK((result.error().status == Status::disk_full || result.error().status == Status::io_error));
  CHECK(result.error().message.starts_with("002_fill.sql:"));
  CHECK(place.sum() == before);
  CHECK(message(place.apply()) == "");
  CHECK(count(place, "select count(*) from a") == 4000);
}

TEST_CASE("sqlite: a table rebuild with references keeps them, and a broken one is refused and leaves the switch on") {
  Place place(Dialect::sqlite);
  place.folder.write(
      "001_a.sql",
      "create table parent (id integer primary key, name text);\ncreate table child (p integer references parent (id) "
      "on "
      "delete cascade);\ninsert into parent values (1, 'a'), (2, 'b');\ninsert into child values (1), (2);");
  place.folder.write("002_rebuild.sql",
                     "-- foreign-keys: off\n-- gameforge: up\ncreate table parent2 (id integer primary key, name text "
                     "not null);\ninsert "
                     "into parent2 select * from parent;\ndrop table parent;\nalter table parent2 rename to parent;\n");
  REQUIRE(message(place.apply()) == "");
  CHECK(count(place, "select count(*) from child join parent on parent.id = child.p") == 2);
  const auto before = place.sum();
  place.folder.write("003_lose.sql", "-- foreign-keys: off\n-- gameforge: up\ndelete from parent where id = 2;\n");
  const auto refused = place.apply();
  REQUIRE(refused.has_error());
  CHECK(refused.error().message.find("1 rows would have no parent") != std::string::npos);
  CHECK(place.sum() == before);
  CHECK(count(place, "select count(*) from parent") == 2);
  // With the switch on, the same statement cascades.
  place.folder.write("003_lose.sql", "delete from parent where id = 2;\n");
  REQUIRE(message(place.apply()) == "");
  CHECK(count(place, "select count(*) from child") == 1);
}

TEST_CASE("sqlite: VACUUM and a change of the journal run outside a transaction, and resume behind what is done") {
  Place place(Dialect::sqlite);
  place.folder.write(
      "001_a.sql",
      "-- transaction: off\n-- gameforge: up\ncreate table a (x int);\npragma journal_mode = wal;\nvacuum;\ninsert "
      "into a "
      "values (1);\ninsert into nowhere values (1);\ninsert into a values (2);\n-- gameforge: down\ndrop table a;\n");
  auto settings = place.settings();
  settings.checks = false;
  Report report;
  auto stopped = place.apply(settings, {}, report);
  REQUIRE(stopped.has_error());
  CHECK(stopped.error().message.starts_with("001_a.sql:7:"));
  CHECK(stopped.error().message.find("4 of 6 statements are done") != std::string::npos);
  CHECK(place.open().status().value().entries[0].state == "unfinished");
  // A change of what was done is refused, one behind it is not.
  place.folder.write("001_a.sql",
                     "-- transaction: off\n-- gameforge: up\ncreate table a (y int);\npragma journal_mode = "
                     "wal;\nvacuum;\ninsert into a "
                     "values (1);\ninsert into a values (2);\n-- gameforge: down\ndrop table a;\n");
  stopped = place.apply(settings, {}, report);
  REQUIRE(stopped.has_error());
  CHECK(stopped.error().status == Status::checksum_mismatch);
  place.folder.write(
      "001_a.sql",
      "-- transaction: off\n-- gameforge: up\ncreate table a (x int);\npragma journal_mode = wal;\nvacuum;\ninsert "
      "into a "
      "values (1);\ninsert into a values (2), (3);\ninsert into a values (4);\n-- gameforge: down\ndrop table a;\n");
  CHECK(message(place.apply(settings, {}, report)) == "");
  CHECK(count(place, "select count(*) from a") == 4);
  CHECK(place.open().status().value().entries[0].state == "applied");
  REQUIRE(message(place.apply(settings, {Goal::Kind::rollback, 1, 0, false}, report)) == "");
  CHECK(count(place, "select count(*) from sqlite_schema where name = 'a'") == 0);
}

static void ways_out(const Place& place) {
  const std::string broken =
      "-- transaction: off\n-- gameforge: up\ncreate table a (x int);\ninsert into a values (1);\ninsert into nowhere "
      "values (1);\n-- "
      "gameforge: down\ndrop table a;\n";
  auto settings = place.settings();
  settings.checks = false;
  Report report;
  place.folder.write("001_a.sql", broken);
  REQUIRE(place.apply(settings, {}, report).has_error());
  // Undone by its down section.
  REQUIRE(message(place.apply(settings, {Goal::Kind::rollback, 1, 0, false}, report)) == "");
  CHECK(place.applied().empty());
  REQUIRE(place.apply(settings, {}, report).has_error());
  // The rest was done by hand.
  REQUIRE(place.open().repair(Repair::mark_applied, 1, "by hand", report));
  CHECK(place.applied() == std::vector<std::string>{"001_a"});
  CHECK(message(place.apply(settings, {}, report)) == "");
  CHECK(count(place, "select count(*) from a") == 1);
}
TEST_CASE("sqlite: a file that stopped in the middle is undone, or its rest taken as done by hand") {
  ways_out(Place(Dialect::sqlite));
}
TEST_CASE("postgresql: a file that stopped in the middle is undone, or its rest taken as done by hand") {
  ways_out(Place(Dialect::postgresql));
}

static void own_transactions(const Place& place) {
  place.folder.write("001_a.sql",
                     "-- transaction: off\n-- gameforge: up\ncreate table a (x int);\nbegin;\ninsert into a values "
                     "(1);\ninsert into a values "
                     "(2);\ncommit;\nbegin;\ninsert into a values (3);\ninsert into nowhere values (1);\ncommit;\n");
  auto settings = place.settings();
  settings.checks = false;
  Report report;
  REQUIRE(place.apply(settings, {}, report).has_error());
  CHECK(count(place, "select count(*) from a") == 2);
  place.folder.write("001_a.sql",
                     "-- transaction: off\n-- gameforge: up\ncreate table a (x int);\nbegin;\ninsert into a values "
                     "(1);\ninsert into a values "
                     "(2);\ncommit;\nbegin;\ninsert into a values (3);\ninsert into a values (4);\ncommit;\n");
  CHECK(message(place.apply(settings, {}, report)) == "");
  CHECK(count(place, "select count(*) from a") == 4);
}
TEST_CASE("sqlite: a file with transactions of its own goes on at the one that was rolled back") {
  own_transactions(Place(Dialect::sqlite));
}
TEST_CASE("postgresql: a file with transactions of its own goes on at the one that was rolled back") {
  own_transactions(Place(Dialect::postgresql));
}

TEST_CASE("postgresql: refused logins, databases and hosts are told apart and name no password") {
  auto& server = PostgresServer::instance();
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int)");
  const auto with = [&](const std::string& url) {
    auto settings = place.settings();
    settings.url = url;
    Report report;
    const auto result = place.apply(settings, {}, report);
    REQUIRE(result.has_error());
    CHECK(result.error().message.find("wrong") == std::string::npos);
    return result.error().status;
  };
  const auto good = server.url_of("postgres", "locked:wrong");
  CHECK(with(good) == Status::unauthorised);
  CHECK(with(server.url_of("nowhere")) == Status::not_found);
  CHECK(with("postgresql://u:wrong@127.0.0.1:1/x") == Status::network_error);
  CHECK(with("postgresql://u@/x?host=/nonexistent") == Status::network_error);
}

TEST_CASE("postgresql: a concurrent index is built outside a transaction, also while others wait for their turn") {
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int); insert into a select generate_series(1, 1000);");
  place.folder.write("002_i.sql",
                     "-- transaction: off\n-- gameforge: up\ninsert into a values (0);\ncreate index concurrently a_x "
                     "on a (x);\ninsert into "
                     "a values (-1);\n-- gameforge: down\ndrop index concurrently if exists a_x;\n");
  std::vector<std::unique_ptr<gf::test::Process>> runners;
  for (int i = 0; i < 5; ++i) runners.push_back(place.start({"run"}, "out" + std::to_string(i)));
  for (auto& runner : runners) {
    REQUIRE(runner->wait(30'000'000));
    CHECK(runner->status() == 0);
  }
  CHECK(count(place, "select count(*) from a") == 1002);
  CHECK(count(place, "select count(*) from pg_index where indisvalid and indexrelid = 'a_x'::regclass") == 1);
  CHECK(count(place, "select count(*) from pg_locks where locktype = 'advisory'") == 0);
  CHECK(message(place.apply({Goal::Kind::rollback, 2, 0, false})) == "");
}

TEST_CASE("postgresql: an index that a broken build left is dropped and built when the file goes on") {
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int); insert into a values (1), (1);");
  place.folder.write("002_i.sql",
                     "-- transaction: off\n-- gameforge: up\ncreate unique index concurrently a_x on a (x);\n");
  const auto broken = place.apply();
  REQUIRE(broken.has_error());
  CHECK(broken.error().message.find("[23505]") != std::string::npos);
  CHECK(count(place, "select count(*) from pg_index where not indisvalid") == 1);
  {
    const auto connection = place.connect();
    REQUIRE(connection->execute("delete from a"));
  }
  CHECK(message(place.apply()) == "");
  CHECK(count(place, "select count(*) from pg_index where indisvalid and indexrelid = 'a_x'::regclass") == 1);
}

TEST_CASE("postgresql: IF NOT EXISTS over an invalid index is not taken for done") {
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int); insert into a values (1), (1);");
  REQUIRE(message(place.apply()) == "");
  {
    const auto connection = place.connect();
    CHECK(connection->execute("create unique index concurrently a_x on a (x)").has_error());
    REQUIRE(connection->execute("delete from a"));
  }
  place.folder.write(
      "002_i.sql",
      "-- transaction: off\n-- gameforge: up\ncreate unique index concurrently if not exists a_x on a (x);\n");
  const auto invalid = place.apply();
  REQUIRE(invalid.has_error());
  CHECK(invalid.error().message.find("DROP INDEX CONCURRENTLY") != std::string::npos);
  CHECK(message(place.apply()) == "");
}

TEST_CASE("postgresql: a table that a reader holds is tried for again, and the error names the session") {
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int)");
  REQUIRE(message(place.apply()) == "");
  place.folder.write("002_b.sql", "-- lock-timeout: 100ms\n-- gameforge: up\nalter table a add column y int;\n");
  const auto reader = place.connect();
  REQUIRE(reader->script("begin; select * from a"));
  auto settings = place.settings();
  settings.lock_retries = 2;
  int retries = 0;
  settings.hooks.progress = [&](const gf::migrate::Event& event) {
    retries += event.type == gf::migrate::EventType::retrying ? 1 : 0;
  };
  Report report;
  const auto refused = place.apply(settings, {}, report);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::locked);
  CHECK(refused.error().message.find(std::to_string(reader->backend_id().value())) != std::string::npos);
  CHECK(retries == 2);
  CHECK(place.applied() == std::vector<std::string>{"001_a"});
  REQUIRE(reader->execute("rollback"));
  CHECK(message(place.apply(settings, {}, report)) == "");
}

TEST_CASE("postgresql: a statement that runs longer than its file allows is stopped") {
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql",
                     "-- timeout: 100ms\n-- gameforge: up\ncreate table a (x int);\nselect pg_sleep(30);\n");
  const auto stopped = place.apply();
  REQUIRE(stopped.has_error());
  CHECK(stopped.error().status == Status::timed_out);
  CHECK(stopped.error().message.starts_with("001_a.sql:4:1: "));
  CHECK(count(place, "select count(*) from pg_class where relname = 'a'") == 0);
}

TEST_CASE("postgresql: the server's process is killed in the middle, and the next run does it") {
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int)");
  place.folder.write("002_b.sql", "create table b (x int);\nselect pg_sleep(1);\ncreate table c (x int);");
  auto settings = place.settings();
  std::thread killer;
  settings.hooks.progress = [&](const gf::migrate::Event& event) {
    if (event.type != gf::migrate::EventType::statement || event.label != "002_b" || killer.joinable()) return;
    killer = std::thread([&] {
      const auto connection = place.connect();
      for (int i = 0; i < 1000; ++i) {
        const auto killed = connection->query(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(1)%' and pid <> "
            "pg_backend_pid() and "
            "datname = current_database() and state = 'active'");
        if (killed && !killed.value().empty()) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  };
  Report report;
  const auto cut = place.apply(settings, {}, report);
  killer.join();
  REQUIRE(cut.has_error());
  CHECK(cut.error().status == Status::network_error);
  CHECK(place.applied() == std::vector<std::string>{"001_a"});
  CHECK(count(place, "select count(*) from pg_class where relname in ('b', 'c')") == 0);
  settings.hooks.progress = nullptr;
  CHECK(message(place.apply(settings, {}, report)) == "");
}

TEST_CASE("postgresql: a file that changes the session's settings changes neither the records nor the next file") {
  Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create schema other; set search_path = other; create table a (x int);");
  place.folder.write("002_b.sql", "create table b (x int);");
  REQUIRE(message(place.apply()) == "");
  CHECK(count(place, "select count(*) from pg_class where oid = 'other.a'::regclass or oid = 'public.b'::regclass") ==
        2);
  CHECK(place.applied().size() == 2);
}

static void twenty(const Place& place) {
  for (int i = 1; i <= 10; ++i) {
    const std::string n = std::to_string(i);
    place.folder.write((i < 10 ? "00" : "0") + n + "_t" + n + ".sql",
                       "create table t" + n + " (x int); insert into t" + n + " values (1);");
  }
  std::vector<std::unique_ptr<gf::test::Process>> runners;
  for (int i = 0; i < 20; ++i) runners.push_back(place.start({"run"}, "out" + std::to_string(i)));
  for (auto& runner : runners) {
    REQUIRE(runner->wait(60'000'000));
    CHECK(runner->status() == 0);
  }
  CHECK(count(place, "select count(*) from gameforge_migrations") == 10);
  CHECK(count(place, "select count(distinct version) from gameforge_migrations") == 10);
  CHECK(place.open().drift().value().empty());
}
TEST_CASE("sqlite: of twenty runners that start at once, each migration is applied by one") {
  twenty(Place(Dialect::sqlite));
}
TEST_CASE("postgresql: of twenty runners that start at once, each migration is applied by one") {
  twenty(Place(Dialect::postgresql));
}

static void lock_dies(const Place& place) {
  place.folder.write("001_a.sql",
                     place.sqlite()
                         ? "create table a (x int);\nwith recursive c(i) as (select 1 union all select i + 1 from c) "
                           "select count(*) from c;"
                         : "create table a (x int);\nselect pg_sleep(60);");
  auto first = place.start({"run", "--no-checks"});
  // Until it holds the lock.
  bool held = false;
  for (int i = 0; i < 3000 && !held; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto connection = place.connect();
    if (place.sqlite()) {
      // Behind the tables of records, which another transaction makes.
      held = connection->query("select count(*) from gameforge_migrations").has_value() &&
             connection->execute("begin immediate").has_error();
    } else {
      const auto asleep = connection->query(
          "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()");
      held = asleep && asleep.value().integer(0, 0) > 0;
    }
  }
  REQUIRE(held);
  first->signal(SIGKILL);
  REQUIRE(first->wait(5'000'000));
  if (!place.sqlite()) {
    // The server finds out when it next writes to the client; a runner's keepalives do the same over a network.
    const auto connection = place.connect();
    REQUIRE(connection->execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> "
        "pg_backend_pid()"));
  }
  place.folder.write("001_a.sql", "create table a (x int);");
  const auto began = std::chrono::steady_clock::now();
  CHECK(message(place.apply()) == "");
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(5));
}
namespace {

/// A first runner is longer at one migration than a second one waits while nothing moves. The second sees that the
/// first is at work, says who and at what, and goes on behind it.
void long_first_runner(const Place& place, std::int64_t first_us, std::int64_t lock_wait_us) {
  constexpr int parts = 20;
  // More than the page cache holds, so that what is written reaches the file, as a big migration's does.
  std::string slow = "create table big (x text);\n";
  if (place.sqlite()) {
    for (int i = 0; i < parts; ++i) slow += "insert into big values (zeroblob(3000000));\n";
  } else {
    slow +=
        "insert into big values ('a');\nselect pg_sleep(" + std::to_string(static_cast<double>(first_us) / 1e6) + ");";
  }
  place.folder.write("001_slow.sql", slow);
  std::atomic<bool> begun{false};
  gf::Result<void> first_result = gf::success();
  std::thread first([&] {
    auto settings = place.settings();
    settings.checks = false;
    settings.hooks.progress = [&](const gf::migrate::Event& event) {
      if (event.type != gf::migrate::EventType::statement) return;
      begun = true;
      if (place.sqlite()) std::this_thread::sleep_for(std::chrono::microseconds(first_us / parts));
    };
    Report report;
    first_result = place.apply(settings, {}, report);
  });
  while (!begun) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  place.folder.write("002_next.sql", "create table next (x int)");
  auto settings = place.settings();
  settings.lock_wait_us = lock_wait_us;
  std::string owner;
  settings.hooks.progress = [&](const gf::migrate::Event& event) {
    // The last one may be of the snapshot behind the run.
    if (event.type == gf::migrate::EventType::waiting && owner.empty()) owner = event.message;
  };
  Report report;
  const auto began = std::chrono::steady_clock::now();
  const auto second_result = place.apply(settings, {}, report);
  const auto waited = std::chrono::steady_clock::now() - began;
  first.join();
  CHECK(message(first_result) == "");
  CHECK(message(second_result) == "");
  CHECK(waited > std::chrono::microseconds(lock_wait_us));
  CHECK(place.applied() == std::vector<std::string>{"001_slow", "002_next"});
  CAPTURE(owner);
  if (place.sqlite()) {
    CHECK(owner.find("process " + std::to_string(getpid())) != std::string::npos);
  } else {
    CHECK(owner.find("gameforge migrate 001_slow") != std::string::npos);
    CHECK(owner.find("at this since 20") != std::string::npos);
  }
}

}  // namespace

TEST_CASE("sqlite: a first runner that is long at work is waited for longer than one that does nothing") {
  long_first_runner(Place(Dialect::sqlite), 3'000'000, 1'000'000);
}
TEST_CASE("postgresql: a first runner that is long at work is waited for longer than one that does nothing") {
  long_first_runner(Place(Dialect::postgresql), 3'000'000, 1'000'000);
}
TEST_SUITE("long") {
  // With the settings that hosts have when they set none.
  TEST_CASE("sqlite: a first runner that takes more than 60 s is waited for") {
    long_first_runner(Place(Dialect::sqlite), 64'000'000, gf::migrate::Settings{}.lock_wait_us);
  }
  TEST_CASE("postgresql: a first runner that takes more than 60 s is waited for") {
    long_first_runner(Place(Dialect::postgresql), 64'000'000, gf::migrate::Settings{}.lock_wait_us);
  }
}

TEST_CASE("postgresql: a runner that holds the lock and does nothing is not waited for without end") {
  const Place place(Dialect::postgresql);
  place.folder.write("001_a.sql", "create table a (x int)");
  const auto idle = place.connect();
  REQUIRE(idle->execute("begin"));
  REQUIRE(idle->query("select pg_advisory_xact_lock(" + std::to_string(gf::migrate::lock_key) + ")").has_value());
  auto settings = place.settings();
  settings.lock_wait_us = 300'000;
  Report report;
  const auto refused = place.apply(settings, {}, report);
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::locked);
  CHECK(refused.error().message.find("server process " + std::to_string(idle->backend_id().value())) !=
        std::string::npos);
}

TEST_CASE("sqlite: a lock dies with its holder") { lock_dies(Place(Dialect::sqlite)); }
TEST_CASE("postgresql: a lock dies with its holder") { lock_dies(Place(Dialect::postgresql)); }
