#include "migrate/file.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using gf::Status;
using gf::migrate::Migration;
using gf::migrate::SourceFile;
using gf::sql::Dialect;

namespace {

gf::Result<std::vector<Migration>> parse(std::vector<SourceFile> files) {
  return gf::migrate::parse_files(std::move(files));
}

Migration one(std::string text, std::string name = "001_a.sql") {
  auto parsed = parse({{std::move(name), std::move(text)}});
  if (parsed.has_error()) FAIL(parsed.error().message);
  return std::move(parsed.value().at(0));
}

std::vector<std::string> texts(const gf::migrate::Section& section) {
  std::vector<std::string> out;
  for (const auto& statement : section.statements) out.push_back(statement.text);
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("golden: sections, header keys and places of one file") {
  const auto migration =
      one("\xEF\xBB\xBF-- gameforge: depends: 003, 007\r\n"
          "-- Some prose: with a colon.\r\n"
          "-- transaction: off\r\n"
          "-- gameforge: foreign-keys: off\r\n"
          "-- timeout: 5min\r\n"
          "-- lock-timeout: 500ms\r\n"
          "-- compatible-back-to: 002\r\n"
          "-- gameforge: up\r\n"
          "create table t(a);\r\n"
          "-- gameforge: up sqlite\r\n"
          "create trigger r after insert on t begin select '\r\n-- gameforge: down\r\n'; end;\r\n"
          "-- gameforge: up postgresql\r\n"
          "do $$ it's; $$;\r\n"
          "-- gameforge: down\r\n"
          "drop table t\r\n");
  CHECK(migration.header.declares_depends);
  CHECK(migration.header.depends == std::vector<std::int64_t>{3, 7});
  CHECK_FALSE(migration.header.transaction);
  CHECK_FALSE(migration.header.foreign_keys);
  CHECK(migration.header.timeout_us == 300'000'000);
  CHECK(migration.header.lock_timeout_us == 500'000);
  CHECK(migration.header.compatible_back_to == 2);
  const auto sqlite = migration.up(Dialect::sqlite, {}).value();
  REQUIRE(sqlite.statements.size() == 2);
  CHECK(sqlite.statements[0].text == "create table t(a)");
  CHECK(sqlite.statements[0].place.line == 9);
  CHECK(sqlite.statements[1].place.line == 11);
  const auto postgres = migration.up(Dialect::postgresql, {}).value();
  CHECK(texts(postgres) == Texts{"create table t(a)", "do $$ it's; $$"});
  CHECK(texts(migration.down(Dialect::sqlite, {}).value()) == Texts{"drop table t"});
}

TEST_CASE("a file without sections is all up, and cannot be undone") {
  const auto migration = one("create table t(a); insert into t values (1)");
  CHECK(migration.up(Dialect::sqlite, {}).value().statements.size() == 2);
  CHECK_FALSE(migration.down(Dialect::sqlite, {}).value().present);
}

TEST_CASE("golang-migrate's pair form is one migration, and its sum covers both files") {
  const auto parsed = parse(
      {{"001_a.up.sql", "create table t(a);"}, {"001_a.down.sql", "drop table t;"}, {"002_b.up.sql", "select 1"}});
  REQUIRE(parsed);
  REQUIRE(parsed.value().size() == 2);
  const auto& pair = parsed.value()[0];
  CHECK(texts(pair.down(Dialect::sqlite, {}).value()) == Texts{"drop table t"});
  CHECK(pair.down(Dialect::sqlite, {}).value().file == "001_a.down.sql");
  CHECK(pair.checksum != gf::migrate::checksum_of("create table t(a);", ""));
  CHECK(pair.checksum == gf::migrate::checksum_of("create table t(a);", "drop table t;"));
}

TEST_CASE("goose's markers are read") {
  const auto migration =
      one("-- +goose NO TRANSACTION\n-- +goose Up\n-- +goose StatementBegin\nselect 1;\n-- +goose StatementEnd\n-- "
          "+goose Down\nselect 2;");
  CHECK_FALSE(migration.header.transaction);
  CHECK(texts(migration.up(Dialect::postgresql, {}).value()) == Texts{"select 1"});
  CHECK(texts(migration.down(Dialect::postgresql, {}).value()) == Texts{"select 2"});
}

TEST_CASE("frozen: the sum of a text never changes, and blanks at line ends, CRLF and a byte order mark do not count") {
  const std::string text = "-- gameforge: up\ncreate table t(a);\n";
  const auto plain = gf::migrate::checksum_of(text, "");
  CHECK(plain == "v1:ee3f9c763d3d46775dc4813be7c4106c39fa9a64af0ff44ee334c800315c5325");
  for (const std::string same :
       {"\xEF\xBB\xBF-- gameforge: up\r\ncreate table t(a);\r\n", "-- gameforge: up \t\ncreate table t(a);",
        "-- gameforge: up\rcreate table t(a);\n\n \n"}) {
    CHECK(gf::migrate::checksum_of(same, "") == plain);
  }
  CHECK(gf::migrate::checksum_of("-- gameforge: up\ncreate  table t(a);\n", "") != plain);
}

TEST_CASE("comments and blanks do not count for the sum of tokens, header keys do") {
  const auto sum = [](const std::string& text) { return one(text).token_sum(Dialect::sqlite); };
  const auto plain = sum("-- gameforge: up\ncreate table t(a);\n");
  CHECK(sum("-- a word\n-- gameforge: up\ncreate   table /* x */ t(a) ; -- end\n") == plain);
  CHECK(sum("-- gameforge: up\ncreate table t(b);\n") != plain);
  CHECK(sum("-- depends: 1\n-- gameforge: up\ncreate table t(a);\n") != plain);
}

TEST_CASE("what a variable's value brings lies where the variable is named") {
  const auto migration = one("-- variables: more = 1; select 222222222222 frm; select 3\nselect ${more}");
  const auto section = migration.up(Dialect::sqlite, {}).value();
  REQUIRE(section.statements.size() == 3);
  const std::size_t end = section.source.size();
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& statement = section.statements[i];
    CHECK(statement.offset < end);
    for (std::size_t byte = i == 0 ? 7 : 0; byte < statement.text.size(); ++byte) {
      const auto place = section.place_in(statement, byte);
      CHECK(place.line == 2);
      CHECK(place.column >= 8);
      CHECK(place.column <= 14);
    }
  }
}

TEST_CASE("variables are filled in only where they are declared, and places still point into the file") {
  const auto migration = one("-- variables: owner, size = 10\nselect '${owner}', ${size}, '${other}' frm t;\nselect 2");
  const auto section = migration.up(Dialect::sqlite, {{"owner", "a long name"}}).value();
  REQUIRE(section.statements.size() == 2);
  CHECK(section.statements[0].text == "select 'a long name', 10, '${other}' frm t");
  const auto at = section.statements[0].text.find("frm");
  const auto place = section.place_in(section.statements[0], at);
  CHECK(place.line == 2);
  CHECK(place.column == 40);
  CHECK(section.statements[1].place.line == 3);
  CHECK(section.statements[1].place.column == 1);
  const auto missing = migration.up(Dialect::sqlite, {});
  REQUIRE(missing.has_error());
  CHECK(missing.error().message.starts_with("001_a.sql:2:9: "));
}

TEST_CASE("what is wrong with a file is told with file, line and column") {
  struct Row {
    std::vector<SourceFile> files;
    Status status;
    std::string begins;
  };
  const std::vector<Row> rows = {
      {{{"a.sql", ""}}, Status::invalid_argument, "a.sql:1:1: "},
      {{{"001.sql", ""}}, Status::invalid_argument, "001.sql:1:1: "},
      {{{"000_x.sql", ""}}, Status::invalid_argument, "000_x.sql:1:1: "},
      {{{"1234567890123456789_x.sql", ""}}, Status::invalid_argument, "1234567890123456789_x.sql:1:1: "},
      {{{"001_a.sql", ""}, {"1_b.sql", ""}}, Status::already_exists, "1_b.sql:1:1: "},
      {{{"001_a.sql", ""}, {"002_a.sql", ""}}, Status::already_exists, "002_a.sql:1:1: "},
      {{{"001_a.down.sql", ""}}, Status::not_found, "001_a.down.sql:1:1: "},
      {{{"001_a.sql", "select 1;\n\xFF\xFE"}}, Status::syntax_error, "001_a.sql:2:1: "},
      {{{"001_a.sql", std::string("select\0 1", 9)}}, Status::syntax_error, "001_a.sql:1:7: "},
      {{{"001_a.sql", std::string("\xFF\xFE", 2)}}, Status::syntax_error, "001_a.sql:1:1: "},
      {{{"001_a.sql", "\n-- gameforge: upp\n"}}, Status::invalid_argument, "001_a.sql:2:1: "},
      {{{"001_a.sql", "-- depends: 3x\n"}}, Status::invalid_argument, "001_a.sql:1:1: "},
      {{{"001_a.sql", "-- transaction: maybe\n"}}, Status::invalid_argument, "001_a.sql:1:1: "},
      {{{"001_a.sql", "-- timeout: 5 parsecs\n"}}, Status::invalid_argument, "001_a.sql:1:1: "},
      {{{"001_a.sql", std::string((std::size_t{50} << 20), ' ')}}, Status::payload_too_large, "001_a.sql:1:1: "},
  };
  for (const auto& row : rows) {
    CAPTURE(row.begins);
    const auto parsed = parse(row.files);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error().status == row.status);
    CHECK(parsed.error().message.starts_with(row.begins));
  }
}

TEST_CASE("a section that cannot be cut, SQL before the first section, and a late key are errors with their place") {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"-- gameforge: up\nselect 'abc;\n-- gameforge: down\n", "001_a.sql:2:8: "},
      {"select 1;\n-- gameforge: up\n", "001_a.sql:1:1: "},
      {"-- gameforge: up\nselect 1;\n-- gameforge: transaction: off\n", "001_a.sql:3:1: "},
  };
  for (const auto& [text, begins] : rows) {
    CAPTURE(text);
    const auto section = one(text).up(Dialect::sqlite, {});
    REQUIRE(section.has_error());
    CHECK(section.error().message.starts_with(begins));
  }
}

TEST_CASE("a remark behind a statement is no marker") {
  const auto section = one("-- gameforge: up\nselect 1; -- gameforge: down\nselect 2;").up(Dialect::sqlite, {}).value();
  CHECK(section.statements.size() == 2);
}

TEST_CASE("durations") {
  using gf::migrate::parse_duration_us;
  CHECK(parse_duration_us("3 s") == 3'000'000);
  CHECK(parse_duration_us("7") == 7'000'000);
  CHECK(parse_duration_us("1h") == 3'600'000'000);
  CHECK(parse_duration_us("0") == 0);
  CHECK_FALSE(parse_duration_us("-1").has_value());
  CHECK_FALSE(parse_duration_us("9223372036854775807h").has_value());
  CHECK_FALSE(parse_duration_us("").has_value());
}
