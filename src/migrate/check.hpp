// Judges statements before anything runs: syntax, what cannot stand where it stands, what locks, rewrites or drops.
#pragma once

#include "base/result.hpp"
#include "migrate/file.hpp"
#include "sql/sql.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gf::migrate {

/// What kind of statement it is, for those who run it.
struct StatementTraits {
  /// BEGIN, COMMIT, ROLLBACK and their spellings; savepoints are none.
  bool ends_or_begins_transaction = false;
  /// Cannot run inside a transaction (CREATE INDEX CONCURRENTLY, VACUUM, CREATE DATABASE, ...).
  bool outside_transaction_only = false;
  /// SQLite: a PRAGMA that does nothing inside a transaction, or fails there.
  bool silent_in_transaction = false;
  /// Running it again after it has run does no harm: the runner may repeat it when it does not know.
  bool repeatable = false;
  /// SET and set_config: changes the session, which is put back behind the file.
  bool changes_session = false;
  /// What it drops, such as "table users", or empty. Deleted rows count.
  std::string drops;
};
StatementTraits traits_of(std::string_view statement, sql::Dialect dialect);

/// One remark of the checker. `message` begins with FILE:LINE:COLUMN.
struct Remark {
  std::string file;
  sql::Place place;
  std::string rule;  ///< "index-not-concurrent", ...
  std::string message;
};

/// What locks or rewrites tables, or cannot be rolled back. `made` are tables that the same plan makes, about which
/// nobody waits; the section's own are added.
std::vector<Remark> lint(const Section& section, bool transaction, sql::Dialect dialect, std::set<std::string>& made);

/// Syntax (PostgreSQL: its grammar) and what cannot stand inside, or outside, a transaction.
/// Errors: syntax_error, unsupported, invalid_argument; messages as FILE:LINE:COLUMN: statement N, "...": words.
Result<void> check_section(const Section& section, const FileHeader& header, sql::Dialect dialect);

/// SQLite: compiles each statement against `scratch`, and runs there those that change the schema, so that the next are
/// compiled against the schema that they will find.
Result<void> replay_on(sql::Connection& scratch, const Section& section);

/// "statement 2, "insert into ...": ".
std::string describe(std::size_t index, std::string_view statement);

}  // namespace gf::migrate
