#include "sql/statements.hpp"

#include "sql/parser.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

using gf::sql::Dialect;
using gf::sql::split;

namespace {

std::vector<std::string> texts(std::string_view input, Dialect dialect) {
  std::vector<std::string> out;
  for (const auto& statement : split(input, dialect).statements) out.emplace_back(statement.text);
  return out;
}

}  // namespace

TEST_CASE("golden: cuts that the shipped vectors do not have, taken from psql 15 and sqlite3 3.40") {
  struct Row {
    Dialect dialect;
    std::string input;
    std::size_t count;
  };
  const std::vector<Row> rows = {
      {Dialect::sqlite, "explain create trigger r after insert on t begin select 1; end; select 2", 2},
      {Dialect::sqlite, "create trigger r after insert on t begin select 'x; end;'; end ; select 2", 2},
      {Dialect::sqlite, "create table trigger_log(a); select 1", 2},
      {Dialect::sqlite, "select $a(;) ; select 2", 2},  // Tcl's form of a variable hides a semicolon
      {Dialect::sqlite, "select /*/ ; */ 1; select 2", 2},
      {Dialect::sqlite, "select x'3b' ; select X'3b3b'", 2},
      {Dialect::postgresql, "select E'a\\''\n'\\';' ; select 2", 2},
      {Dialect::postgresql, "select 1 as end; select 2 as case; select 3", 3},
      {Dialect::postgresql,
       "create function f() returns int begin atomic select 1 as end; select t.case from t; end; select 2", 2},
      {Dialect::postgresql,
       "create or replace procedure p() language sql begin atomic insert into t values (1); end; select 1", 2},
      {Dialect::postgresql, "do $a$ begin perform '$b$;'; end $a$; select $$;$$ ; select 1", 3},
      {Dialect::postgresql, "select 1 -- it's; here\n; select 2", 2},
      {Dialect::postgresql, "select a[1:2], b::int from t; select @-1", 2},
      {Dialect::postgresql, "begin; select 1; commit", 3},
  };
  for (const auto& row : rows) {
    CAPTURE(row.input);
    const auto result = split(row.input, row.dialect);
    CHECK_FALSE(result.error.has_value());
    CHECK(result.statements.size() == row.count);
  }
}

TEST_CASE("a text that the grammar refuses is still cut, so that the error has a statement") {
  CHECK(texts("select 1; selec 2; select 3", Dialect::postgresql) ==
        std::vector<std::string>{"select 1", "selec 2", "select 3"});
}

TEST_CASE("what never ends, or is no SQL, is told with its place") {
  struct Row {
    Dialect dialect;
    std::string input;
    std::string kind;
    std::uint32_t line, column;
  };
  const std::vector<Row> rows = {
      {Dialect::sqlite, "select \"a", "unterminated-identifier", 1, 8},
      {Dialect::sqlite, "select [a", "unterminated-identifier", 1, 8},
      {Dialect::sqlite, "select `a", "unterminated-identifier", 1, 8},
      {Dialect::sqlite, "\n\tselect 'a", "unterminated-string", 2, 9},
      {Dialect::postgresql, "select E'a\\'", "unterminated-string", 1, 8},
      {Dialect::postgresql, "select 1; \\gset", "psql-meta-command", 1, 11},
      {Dialect::postgresql, "copy t from stdin with (format csv)", "copy-from-stdin", 1, 1},
      {Dialect::postgresql, "select \xC3\xBC, 'a", "unterminated-string", 1, 11},
  };
  for (const auto& row : rows) {
    CAPTURE(row.input);
    const auto result = split(row.input, row.dialect);
    REQUIRE(result.error.has_value());
    CHECK(result.error->kind == row.kind);
    CHECK(result.error->place.line == row.line);
    CHECK(result.error->place.column == row.column);
  }
}

TEST_CASE("COPY of a column called stdin, and from a file, is let through") {
  CHECK_FALSE(split("copy t from '/x'; copy (select stdin from t) to '/y'", Dialect::postgresql).error.has_value());
}

TEST_CASE("property: valid statements joined with noise are split again into the same statements") {
  const std::vector<std::string> both = {"select 1",
                                         "insert into t values ('a;b', 'it''s')",
                                         "select \"a;b\" from t",
                                         "create table t(a int, b text default ';')",
                                         "update t set a = case when b = 'x;' then 1 else 2 end",
                                         "select 1 /* in; side */ + 2",
                                         "select 1 -- to the end;\n + 2"};
  const std::vector<std::string> sqlite_only = {
      "create trigger r after insert on t begin update t set a = case when 1 then 2 end; delete from t; end",
      "create temp trigger q before delete on t begin select ';end;'; end", "select [a;], `b;` from t", "select 'a\\'"};
  const std::vector<std::string> postgres_only = {
      "do $$ begin perform 1; end $$",
      "select E'\\';'",
      "create function f() returns int language sql begin atomic select case when true then 1 end; select 2; end",
      "create rule r as on insert to t do also (insert into u values (1); delete from v)",
      "select $q$ ; $$ ; $q$",
      "create function g() returns text as $body$ select ';' $body$ language sql"};
  const std::vector<std::string> noise = {";", "\n", ";;\n", " ; -- note; it's\n", "; /* ; ' */ ", ";\r\n\t"};
  for (const auto dialect : {Dialect::sqlite, Dialect::postgresql}) {
    auto pool = both;
    const auto& own = dialect == Dialect::sqlite ? sqlite_only : postgres_only;
    pool.insert(pool.end(), own.begin(), own.end());
    for (std::uint32_t seed = 1; seed <= 200; ++seed) {
      CAPTURE(seed);
      std::mt19937 random(seed);
      const auto pick = [&](const std::vector<std::string>& from) { return from[random() % from.size()]; };
      std::vector<std::string> expected;
      std::string input;
      const auto count = random() % 8;
      for (std::uint32_t i = 0; i < count; ++i) {
        expected.push_back(pick(pool));
        input += expected.back();
        std::string between = pick(noise);
        if (between.find(';') == std::string::npos) between += ';';
        input += between;
      }
      REQUIRE(texts(input, dialect) == expected);
    }
  }
}

TEST_CASE("property: on any prefix of a script the cuts lie in order, inside the text, and never overlap") {
  const std::string script =
      "create table \"t;\"(a int); -- x\n/* y /* z */ */ do $a$ ; $a$; select E'\\';', $1, 'b'; copy t from stdin;";
  for (const auto dialect : {Dialect::sqlite, Dialect::postgresql}) {
    for (std::size_t length = 0; length <= script.size(); ++length) {
      const std::string_view input = std::string_view(script).substr(0, length);
      CAPTURE(input);
      std::size_t after = 0;
      for (const auto& statement : split(input, dialect).statements) {
        REQUIRE(statement.offset >= after);
        REQUIRE_FALSE(statement.text.empty());
        REQUIRE(statement.text.data() == input.data() + statement.offset);
        after = statement.offset + statement.text.size();
        REQUIRE(after <= input.size());
      }
    }
  }
}

TEST_CASE("the parser gives the byte of a syntax error behind text of several bytes a character") {
  const std::string text = "select '\xC3\xBC\xE8\xA1\xA8' frm t where";
  const auto parsed = gf::sql::parse_postgres(text);
  CHECK_FALSE(parsed.spans.has_value());
  CHECK(parsed.error_offset <= text.size());
  const auto second = gf::sql::parse_postgres("select '\xC3\xBC' , , 1");
  CHECK(second.error_offset == 14);
}
