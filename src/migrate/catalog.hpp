// What a database's schema is made of, read from its catalogs in a form in which two databases can be compared.
#pragma once

#include "base/result.hpp"
#include "sql/sql.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace gf::migrate {

/// One object: a table, a column, an index, a function. Ordered by kind and name.
struct SchemaObject {
  std::string kind;
  std::string name;
  std::string definition;

  auto operator<=>(const SchemaObject&) const = default;
};

/// One thing that is not as expected. Empty text: not there.
struct SchemaDifference {
  std::string kind;
  std::string name;
  std::string expected;
  std::string found;
};

using Catalog = std::vector<SchemaObject>;

/// All objects of the database but the system's, extensions' members and the migrations' own tables. Definitions are
/// the server's own rendering (PostgreSQL) or the tokens of the text (SQLite), so that spelling does not count.
Result<Catalog> read_catalog(sql::Connection& connection);

/// Column by column where a table is on both sides; a table's text is only told where no column explains it.
std::vector<SchemaDifference> compare(const Catalog& expected, const Catalog& found);

/// SHA-256 over the whole catalog, "v1:..." .
std::string fingerprint(const Catalog& catalog);

/// As JSON text for the record, and back. Errors: corrupt_file.
std::string to_record(const Catalog& catalog);
Result<Catalog> from_record(std::string_view text);

/// A script that makes the schema anew in an empty database. PostgreSQL: tables, sequences, types, functions, views,
/// indexes, constraints, triggers, rules, policies, extensions, comments; no owners and no grants.
Result<std::string> dump_schema(sql::Connection& connection);

/// The names of the tables that keep the records.
constexpr std::string_view history_table = "gameforge_migrations";
constexpr std::string_view snapshot_table = "gameforge_schema";

/// A SQL text as its tokens with one blank between, words in lower case, plain quoted names without quotes.
std::string canonical_sql(std::string_view text, sql::Dialect dialect);

}  // namespace gf::migrate
