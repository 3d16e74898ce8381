#include "migrate/sums.hpp"

#include "../../support/files.hpp"
#include "base/clock.hpp"
#include "base/files.hpp"
#include "migrate/migrate.hpp"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <vector>

using gf::Status;
using gf::migrate::check_sums;
using gf::migrate::Migration;
using gf::migrate::Migrator;
using gf::migrate::sums_of;
using gf::test::TemporaryFolder;
using gf::test::write_file;

namespace {

std::vector<Migration> migrations_of(const std::string& folder) {
  return gf::migrate::parse_files(gf::migrate::read_folder(folder).value()).value();
}

/// What validate finds wrong; of these folders nothing but sums can be.
std::vector<std::string> wrong(const TemporaryFolder& folder) {
  gf::migrate::Settings settings;
  settings.folder = folder.path();
  std::vector<std::string> out;
  const auto report = Migrator::open(settings).value().validate().value();
  for (const auto& error : report.errors) {
    CHECK(error.status == Status::checksum_mismatch);
    out.push_back(error.message);
  }
  return out;
}

void fill(const TemporaryFolder& folder) {
  write_file(folder / "001_a.sql", "create table a (x int);");
  write_file(folder / "002_b.up.sql", "create table b (x int);");
  write_file(folder / "002_b.down.sql", "drop table b;");
  write_file(folder / "R_v.sql", "create view v as select 1;");
  write_file(folder / "gameforge.sum", "");
}

}  // namespace

TEST_CASE("frozen: the text of a file of sums") {
  const auto migrations =
      gf::migrate::parse_files({{"001_a.sql", "create table a (x int);"}, {"R_v.sql", "create view v as select 1;"}})
          .value();
  CHECK(sums_of(migrations) ==  // As sha256sum has it.
        "v1:efe621557da83f52e7d9db2c39e16c72b5aad5bbecf6452b498e722eb9cadd55 all\n"
        "v1:6f85aa62aa92fdc66955fda26b0f540150f6c7358298575ca3c67ad7f4ad4380 001_a.sql\n"
        "v1:b6a5547aec3ca345e6ac0ca246c0aaa99191890674014ba60a9b062bf96c59f8 R_v.sql\n");
  CHECK(sums_of({}) == "v1:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 all\n");
}

TEST_CASE("without a file of sums nothing is asked and none is made; an empty one is filled in, and then it holds") {
  const TemporaryFolder folder;
  fill(folder);
  REQUIRE(std::remove(folder.file("gameforge.sum").c_str()) == 0);
  CHECK(wrong(folder).empty());
  CHECK(!gf::is_regular_file(folder / "gameforge.sum"));
  write_file(folder / "gameforge.sum", "");
  CHECK(wrong(folder).empty());
  CHECK(gf::read_text(folder / "gameforge.sum", 10000).value() == sums_of(migrations_of(folder.path())));
  CHECK(wrong(folder).empty());
}

TEST_CASE("a file that was put in, taken out or edited is told by its name, in either half of a pair") {
  const TemporaryFolder folder;
  fill(folder);
  REQUIRE(wrong(folder).empty());
  write_file(folder / "002_b.down.sql", "drop table if exists b;");
  write_file(folder / "003_c.sql", "create table c (x int);");
  REQUIRE(std::remove(folder.file("R_v.sql").c_str()) == 0);
  const auto found = wrong(folder);
  REQUIRE(found.size() == 3);
  CHECK(found[0].starts_with("002_b.up.sql:1:1: it was edited"));
  CHECK(found[1].starts_with("003_c.sql:1:1: it has no line in gameforge.sum"));
  CHECK(found[2].starts_with("gameforge.sum:4:1: \"R_v.sql\" has a line, and is not there"));
  // Blanks at line ends, CRLF and a byte order mark are no edit, as for what was applied.
  fill(folder);
  REQUIRE(std::remove(folder.file("003_c.sql").c_str()) == 0);
  REQUIRE(wrong(folder).empty());
  write_file(folder / "001_a.sql",
             "\xEF\xBB\xBF"
             "create table a (x int);  \r\n");
  CHECK(wrong(folder).empty());
}

TEST_CASE("a merge that takes both branches' lines, or leaves its markers, is told") {
  const TemporaryFolder folder;
  fill(folder);
  REQUIRE(wrong(folder).empty());
  const auto before = gf::read_text(folder / "gameforge.sum", 10000).value();
  // Two branches, each with a migration more and its sums, and what a merge would make of them.
  const auto branch = [&](const char* name, const char* text) {
    write_file(folder / name, text);
    const auto sums = sums_of(migrations_of(folder.path()));
    REQUIRE(std::remove(folder.file(name).c_str()) == 0);
    return sums;
  };
  const auto ours = branch("003_c.sql", "create table c (x int);");
  const auto theirs = branch("004_d.sql", "create table d (x int);");
  CHECK(ours.substr(0, ours.find('\n')) != theirs.substr(0, theirs.find('\n')));  // So that git sees a conflict.
  write_file(folder / "003_c.sql", "create table c (x int);");
  write_file(folder / "004_d.sql", "create table d (x int);");
  write_file(folder / "gameforge.sum", "<<<<<<< HEAD\n" + ours + "=======\n" + theirs + ">>>>>>> other\n");
  auto found = wrong(folder);
  REQUIRE(found.size() == 1);
  CHECK(found[0].starts_with("gameforge.sum:1:1: \"<<<<<<< HEAD\" is no line of sums"));
  // Every line is right, and the first is one branch's.
  const auto whole = sums_of(migrations_of(folder.path()));
  write_file(folder / "gameforge.sum", ours.substr(0, ours.find('\n')) + whole.substr(whole.find('\n')));
  found = wrong(folder);
  REQUIRE(found.size() == 1);
  CHECK(found[0].starts_with("gameforge.sum:1:1: the lines are not those"));
  write_file(folder / "gameforge.sum", "");
  CHECK(wrong(folder).empty());
}

TEST_CASE("create writes the line of its file, keeps what the others say, and refuses a damaged file of sums") {
  const TemporaryFolder folder;
  fill(folder);
  REQUIRE(wrong(folder).empty());
  write_file(folder / "001_a.sql", "create table a (y int);");
  REQUIRE(Migrator::create(folder.path(), "third", gf::system_clock()).has_value());
  const auto found = wrong(folder);
  REQUIRE(found.size() == 1);
  CHECK(found[0].starts_with("001_a.sql:1:1: it was edited"));
  write_file(folder / "gameforge.sum", "v1:12 all\n");
  const auto entries = folder.entries();
  const auto refused = Migrator::create(folder.path(), "fourth", gf::system_clock());
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::checksum_mismatch);
  CHECK(folder.entries() == entries);
}

TEST_CASE("property: any line that is changed, taken out or put in is found") {
  std::vector<gf::migrate::SourceFile> files;
  for (int i = 1; i <= 9; ++i) {
    files.push_back({"00" + std::to_string(i) + "_x" + std::to_string(i) + ".sql",
                     "create table x" + std::to_string(i) + " (x int);"});
  }
  const auto migrations = gf::migrate::parse_files(files).value();
  const auto right = sums_of(migrations);
  const TemporaryFolder folder;
  for (std::size_t at = 0; at < right.size(); ++at) {
    CAPTURE(at);
    auto text = right;
    text[at] = text[at] == 'a' ? 'b' : 'a';
    write_file(folder / "gameforge.sum", text);
    CHECK(!check_sums(folder.path(), migrations).value().empty());
    if (text[at] == '\n' || right[at] == '\n') continue;
    text = right;
    text.erase(at, 1);
    write_file(folder / "gameforge.sum", text);
    CHECK(!check_sums(folder.path(), migrations).value().empty());
  }
  write_file(folder / "gameforge.sum", right);
  CHECK(check_sums(folder.path(), migrations).value().empty());
}
