#include "migrate/scratch.hpp"

#include "base/ids.hpp"

#include <fmt/format.h>

namespace gf::migrate {
namespace {

Result<void> copy_records(sql::Connection& live, sql::Connection& scratch) {
  GF_TRY(const auto history, History::read(live));
  GF_TRYV(create_tables(scratch));
  if (!history.exists) return success();
  GF_TRY(const auto rows, live.query("SELECT * FROM gameforge_migrations ORDER BY id"));
  std::string names;
  std::string places;
  for (std::size_t i = 0; i < rows.columns.size(); ++i) {
    names += (i == 0 ? "" : ", ") + sql::quoted_name(rows.columns[i]);
    places += fmt::format("{}${}", i == 0 ? "" : ", ", i + 1);
  }
  GF_TRYV(scratch.execute("BEGIN"));
  for (const auto& row : rows.rows) {
    GF_TRYV(scratch.execute(fmt::format("INSERT INTO gameforge_migrations ({}) VALUES ({})", names, places), row));
  }
  GF_TRYV(scratch.execute("COMMIT"));
  GF_TRYV(scratch.execute(
      fmt::format("SELECT setval(pg_get_serial_sequence('gameforge_migrations', 'id'), {})", history.last_id + 1)));
  return success();
}

}  // namespace

Result<Scratch> Scratch::empty(const std::string& url) {
  Scratch scratch;
  if (url.empty() || !url.starts_with("postgres")) {
    GF_TRY(scratch.connection_, sql::open_sqlite(":memory:"));
    return scratch;
  }
  GF_TRY(const auto maker, sql::open(url));
  const std::string name = fmt::format("gameforge_scratch_{:016x}", random_bits());
  GF_TRY(const auto like,
         maker->query("SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE "
                      "datname = current_database()"));
  const auto made = maker->execute(fmt::format(
      "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}", name,
      sql::quoted_text(like.text(0, 0)), sql::quoted_text(like.text(0, 1)), sql::quoted_text(like.text(0, 2))));
  if (!made) {
    return wrap(made.error(), made.error().status,
                fmt::format("no scratch database can be made: {}; --prove=in-place needs none", made.error().message));
  }
  scratch.url_ = url;
  scratch.database_ = name;
  sql::OpenOptions options;
  options.database = name;
  GF_TRY(scratch.connection_, sql::open(url, options));
  return scratch;
}

Result<Scratch> Scratch::copy_of(const std::string& url, sql::Connection& live) {
  if (live.dialect() == sql::Dialect::sqlite) {
    Scratch scratch;
    // Without a name it is a temporary file of SQLite's own, removed with the connection.
    GF_TRY(scratch.connection_, sql::open_sqlite(""));
    GF_TRYV(sql::copy_sqlite(live, *scratch.connection_));
    return scratch;
  }
  GF_TRY(auto scratch, empty(url));
  GF_TRY(const auto script, dump_schema(live));
  auto& target = *scratch.connection_;
  GF_TRYV(target.script(script));
  GF_TRYV(target.script("RESET ALL; SET standard_conforming_strings = on"));
  GF_TRY(const auto expected, read_catalog(live));
  GF_TRY(const auto made, read_catalog(target));
  if (const auto differences = compare(expected, made); !differences.empty()) {
    return Error{Status::schema_drift,
                 fmt::format("the scratch database could not be made like the live one: {} {} differs, and {} more; "
                             "--prove=in-place needs none",
                             differences[0].kind, differences[0].name, differences.size() - 1),
                 {}};
  }
  GF_TRYV(copy_records(live, target));
  return scratch;
}

Scratch::~Scratch() {
  if (database_.empty()) return;
  connection_.reset();
  // A failure leaves an empty database whose name says what it is.
  if (const auto maker = sql::open(url_)) (void)maker.value()->execute("DROP DATABASE IF EXISTS " + database_);
}

}  // namespace gf::migrate
