#include "sql/sql.hpp"

#include "../../support/files.hpp"

#include <doctest/doctest.h>

#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

using gf::Status;
using gf::sql::Dialect;

TEST_CASE("a URL is taken apart, and one that is none of ours is refused without its secrets") {
  CHECK(gf::sql::parse_url("sqlite:a/b.db").value().target == "a/b.db");
  CHECK(gf::sql::parse_url("sqlite:///a/b.db").value().target == "/a/b.db");
  CHECK(gf::sql::parse_url("sqlite::memory:").value().target == ":memory:");
  CHECK(gf::sql::parse_url("postgresql://h/d").value().dialect == Dialect::postgresql);
  CHECK(gf::sql::parse_url("postgres://h/d").value().dialect == Dialect::postgresql);
  for (const std::string url : {"", "sqlite:", "mysql://u:secret@h/d", "secret", "http://x"}) {
    CAPTURE(url);
    const auto refused = gf::sql::parse_url(url);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::invalid_argument);
    if (url.find(':') != std::string::npos) CHECK(refused.error().message.find("secret") == std::string::npos);
  }
}

TEST_CASE("passwords do not survive redaction") {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"postgresql://u:secret@h:5432/d", "postgresql://u:***@h:5432/d"},
      {"postgresql://u@h/d?password=secret&x=1", "postgresql://u@h/d?password=***&x=1"},
      {"postgresql://u:sec@ret@h/d", "postgresql://u:***@h/d"},
      {"postgresql://u:sec/ret@h/d", "postgresql://u:***@h/d"},
      {"postgresql://h/d", "postgresql://h/d"},
      {"sqlite:a.db", "sqlite:a.db"},
  };
  for (const auto& [url, expected] : rows) CHECK(gf::sql::redacted(url) == expected);
}

TEST_CASE("SQLite: parameters go by their number, values keep their kinds") {
  auto db = gf::sql::open("sqlite::memory:").value();
  REQUIRE(db->execute("create table t(a, b, c, d)"));
  const std::vector<gf::sql::Value> values = {std::int64_t{7}, std::string("x;'y"), std::monostate{}, 1.5};
  REQUIRE(db->execute("insert into t values ($2, $1, $3, $4)", values));
  const auto rows = db->query("select * from t").value();
  CHECK(rows.columns == std::vector<std::string>{"a", "b", "c", "d"});
  CHECK(rows.text(0, 0) == "x;'y");
  CHECK(rows.integer(0, 1) == 7);
  CHECK(rows.is_null(0, 2));
  CHECK(std::get<double>(rows.rows[0][3]) == 1.5);
}

TEST_CASE("SQLite: bytes go in as a BLOB, and come out as they were") {
  auto db = gf::sql::open("sqlite::memory:").value();
  REQUIRE(db->execute("create table t(a, b)"));
  const std::string bytes("\0a\xff\0", 4);
  const std::vector<gf::sql::Value> values = {gf::sql::Bytes{bytes}, gf::sql::Bytes{}};
  REQUIRE(db->execute("insert into t values ($1, $2)", values));
  const auto rows = db->query("select a, typeof(a), b, typeof(b) from t").value();
  CHECK(rows.text(0, 0) == bytes);
  CHECK(rows.text(0, 1) == "blob");
  CHECK(rows.text(0, 2).empty());
  CHECK(rows.text(0, 3) == "blob");
}

TEST_CASE("SQLite: who opens a file exclusively has it alone, without shared memory, and leaves a WAL when told to") {
  const gf::test::TemporaryFolder folder;
  const auto path = folder / "exclusive.db";
  gf::sql::OpenOptions options;
  options.exclusive = true;
  options.checkpoint_on_close = false;
  {
    auto first = gf::sql::open_sqlite(path, options).value();
    REQUIRE(first->execute("pragma journal_mode = wal"));
    REQUIRE(first->execute("create table t(a)"));
    auto second = gf::sql::open_sqlite(path, {}).value();
    CHECK(second->query("select * from t").error().status == Status::locked);
    CHECK(gf::sql::sqlite_lock_owner(path) == ::getpid());
    CHECK_FALSE(std::filesystem::exists(path + "-shm"));
  }
  CHECK(std::filesystem::file_size(path + "-wal") > 0);
  {
    auto third = gf::sql::open_sqlite(path, options).value();
    CHECK(third->query("select * from t").value().empty());
    gf::sql::set_sqlite_checkpoint_on_close(*third, true);
  }
  CHECK_FALSE(std::filesystem::exists(path + "-wal"));
}

TEST_CASE("SQLite: a failure carries code, words and the byte; the next statement works") {
  auto db = gf::sql::open("sqlite::memory:").value();
  const auto failed = db->execute("select 1 frm x y");
  REQUIRE(failed.has_error());
  CHECK(failed.error().status == Status::syntax_error);
  CHECK(db->failure().code == "SQLITE_ERROR (1)");
  CHECK(db->failure().message == "near \"x\": syntax error");
  CHECK(db->failure().offset == 13);
  REQUIRE(db->execute("create table u(a primary key)"));
  REQUIRE(db->execute("insert into u values (1)"));
  const auto twice = db->execute("insert into u values (1)");
  REQUIRE(twice.has_error());
  CHECK(db->failure().code == "SQLITE_CONSTRAINT (1555)");
}

TEST_CASE("SQLite: two statements at once are refused") {
  auto db = gf::sql::open("sqlite::memory:").value();
  CHECK(db->execute("select 1; select 2").has_error());
  CHECK(db->execute("select 1; -- fine\n"));
}

TEST_CASE("SQLite: a statement that runs too long ends with timed out, and the connection stays good") {
  auto db = gf::sql::open("sqlite::memory:").value();
  REQUIRE(db->set_timeouts(1000, 20'000));
  const auto slow = db->query("with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c");
  REQUIRE(slow.has_error());
  CHECK(slow.error().status == Status::timed_out);
  REQUIRE(db->set_timeouts(1000, 0));
  CHECK(db->query("select 1").value().integer(0, 0) == 1);
}

TEST_CASE("a transaction is rolled back unless it is committed") {
  auto db = gf::sql::open("sqlite::memory:").value();
  {
    auto transaction = gf::sql::Transaction::begin(*db).value();
    REQUIRE(db->execute("create table gone(a)"));
  }
  CHECK_FALSE(db->in_transaction());
  {
    auto transaction = gf::sql::Transaction::begin(*db).value();
    REQUIRE(db->execute("create table kept(a)"));
    REQUIRE(transaction.commit());
  }
  CHECK(db->query("select name from sqlite_schema").value().text(0, 0) == "kept");
}

TEST_CASE("a file that is no database, and one that is not there, are told apart") {
  const auto missing = gf::sql::open("sqlite:no-such-folder/x.db");
  REQUIRE(missing.has_error());
  CHECK(missing.error().status == Status::io_error);
  const auto absent = [] {
    gf::sql::OpenOptions options;
    options.create = false;
    return gf::sql::open("sqlite:no-such-file.db", options);
  }();
  REQUIRE(absent.has_error());
  CHECK(absent.error().status == Status::not_found);
}

TEST_CASE("nobody listens: the refusal is a network error and names no password") {
  const auto refused = gf::sql::open("postgresql://u:secret@127.0.0.1:1/d");
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::network_error);
  CHECK(refused.error().message.find("secret") == std::string::npos);
}

TEST_CASE("SQLSTATEs and extended codes map to the table of statuses") {
  CHECK(gf::sql::status_of_sqlstate("42601") == Status::syntax_error);
  CHECK(gf::sql::status_of_sqlstate("28P01") == Status::unauthorised);
  CHECK(gf::sql::status_of_sqlstate("55P03") == Status::locked);
  CHECK(gf::sql::status_of_sqlstate("53100") == Status::disk_full);
  CHECK(gf::sql::status_of_sqlstate("57P01") == Status::network_error);
  CHECK(gf::sql::status_of_sqlstate("23505") == Status::database_error);
  CHECK(gf::sql::status_of_sqlite(5, "") == Status::locked);
  CHECK(gf::sql::status_of_sqlite(13, "") == Status::disk_full);
  CHECK(gf::sql::status_of_sqlite(776, "") == Status::unauthorised);
  CHECK(gf::sql::status_of_sqlite(26, "") == Status::corrupt_file);
}
