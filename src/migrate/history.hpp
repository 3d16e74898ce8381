// The records in the database: what was applied, undone or left half done, by whom, from which text. A row is only ever
// written together with what it speaks of, or before it where that is impossible.
#pragma once

#include "base/result.hpp"
#include "migrate/catalog.hpp"
#include "sql/sql.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gf::migrate {

/// One row. `state` is applied (the direction was carried out), running (a file outside a transaction has begun) or
/// failed (it stopped at a statement).
struct Record {
  std::int64_t id = 0;
  std::int64_t version = 0;  ///< 0: repeatable.
  std::string name;
  std::string label;      ///< "003_users" or "R_views".
  std::string direction;  ///< "up", "down".
  std::string state;
  std::string origin;  ///< "run", "baseline", "marked".
  std::string checksum;
  std::string token_sum;
  bool declares_depends = false;
  std::vector<std::int64_t> depends;
  std::optional<std::int64_t> compatible_back_to;
  bool irreversible = false;
  std::string applied_at;  ///< UTC, ISO 8601 with microseconds.
  std::int64_t duration_us = 0;
  std::string applied_by;
  std::string tool_version;
  std::int64_t statements_done = 0;
  std::string statement_sums;  ///< One line each, of the statements that are done. Outside a transaction only.
  std::string in_flight;       ///< The sum of a statement that was begun and not told to be done.
  std::string objects;         ///< What it touched, by name, one a line. The snapshot has their definitions.
  std::string note;
};

/// Where everything stands, worked out from the rows.
class History {
 public:
  /// Reads the rows; no table gives an empty history. Any other failure is an error, never "empty".
  static Result<History> read(sql::Connection& connection);
  /// The same without what only reports show (token_sum, times, persons, progress), but of an unfinished row.
  static Result<History> read_brief(sql::Connection& connection);

  bool exists = false;  ///< The table is there.
  std::int64_t last_id = 0;
  std::vector<Record> rows;  ///< All, oldest first.
  /// Versions that are applied now, in the order in which they were; positions in rows.
  std::vector<std::size_t> applied;
  std::map<std::int64_t, std::size_t> by_version;              ///< Applied now.
  std::map<std::string, std::size_t, std::less<>> repeatable;  ///< By name: the last time each ran.
  /// A migration outside a transaction that has begun (up or down) and not ended, if there is one; position in rows.
  std::optional<std::size_t> unfinished;

  const Record* find(std::int64_t version) const;

 private:
  static Result<History> read_columns(sql::Connection& connection, bool brief);
};

/// The token_sum of a row that was read in brief.
Result<std::string> recorded_token_sum(sql::Connection& connection, std::int64_t id);

/// Makes the tables if they are not there. To be called under the lock.
Result<void> create_tables(sql::Connection& connection);

/// Adds a row and gives its id. With `down_sql` the text that undoes it. On PostgreSQL `touched` asks the server for
/// what this transaction changed.
Result<std::int64_t> add_record(sql::Connection& connection, const Record& record, const std::string& down_sql,
                                bool touched);
/// Writes state, duration, progress, in_flight, objects and note of the row with record.id.
Result<void> update_record(sql::Connection& connection, const Record& record);
/// Writes sums, names, note and the text that undoes it of the row with record.id: an accepted edit.
Result<void> update_sums(sql::Connection& connection, const Record& record, const std::string& down_sql);
Result<std::string> recorded_down(sql::Connection& connection, std::int64_t id);
/// The highest id beyond `known`, or `known`.
Result<std::int64_t> newest_id(sql::Connection& connection, std::int64_t known);

/// The schema as it was at the end of a run.
struct Snapshot {
  std::int64_t history_id = 0;
  std::string taken_at;
  Catalog catalog;
};
Result<std::optional<Snapshot>> read_snapshot(sql::Connection& connection);
/// The history_id of the snapshot, 0 without one; the tables are there.
Result<std::int64_t> snapshot_id(sql::Connection& connection);
Result<void> write_snapshot(sql::Connection& connection, const Snapshot& snapshot);

/// "2026-11-24T23:58:41.123456Z".
std::string utc_text(std::int64_t unix_us);

}  // namespace gf::migrate
