#include "migrate/history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>

namespace gf::migrate {
namespace {

Result<bool> has_table(sql::Connection& connection, std::string_view table) {
  if (connection.dialect() == sql::Dialect::sqlite) {
    GF_TRY(const auto rows, connection.query("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1",
                                             std::vector<sql::Value>{std::string(table)}));
    return rows.integer(0, 0) != 0;
  }
  GF_TRY(const auto rows,
         connection.query("SELECT to_regclass($1) IS NOT NULL", std::vector<sql::Value>{std::string(table)}));
  return rows.integer(0, 0) != 0;
}

std::vector<std::int64_t> parse_list(std::string_view text) {
  std::vector<std::int64_t> out;
  while (!text.empty()) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) break;
    out.push_back(value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty()) text.remove_prefix(1);
  }
  return out;
}

sql::Value optional_text(const std::string& text) { return text.empty() ? sql::Value{} : sql::Value{text}; }

// What this transaction changed: relations that it has locked against writers, which is what everything that makes,
// alters or indexes one does. The table of locks is small, where a search of the catalog for our own rows is not.
constexpr std::string_view touched_objects =
    "(SELECT string_agg(DISTINCT l.relation::regclass::text, E'\\n') FROM pg_locks l WHERE l.pid = pg_backend_pid() "
    "AND "
    "l.locktype = 'relation' AND l.relation >= 16384 AND l.mode IN ('AccessExclusiveLock', 'ExclusiveLock', "
    "'ShareRowExclusiveLock', 'ShareLock', 'ShareUpdateExclusiveLock'))";

}  // namespace

std::string utc_text(std::int64_t unix_us) {
  const std::time_t seconds = unix_us / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, unix_us % 1'000'000);
}

const Record* History::find(std::int64_t version) const {
  const auto found = by_version.find(version);
  return found == by_version.end() ? nullptr : &rows[found->second];
}

Result<History> History::read(sql::Connection& connection) { return read_columns(connection, false); }

Result<History> History::read_brief(sql::Connection& connection) {
  GF_TRY(auto history, read_columns(connection, true));
  // Rare, and then all of the row is wanted.
  if (history.unfinished) return read(connection);
  return history;
}

Result<std::string> recorded_token_sum(sql::Connection& connection, std::int64_t id) {
  GF_TRY(const auto rows,
         connection.query("SELECT token_sum FROM gameforge_migrations WHERE id = $1", std::vector<sql::Value>{id}));
  return rows.text(0, 0);
}

Result<History> History::read_columns(sql::Connection& connection, bool brief) {
  History history;
  GF_TRY(history.exists, has_table(connection, history_table));
  if (!history.exists) return history;
  std::string columns =
      "id, version, name, label, direction, state, origin, checksum, depends, compatible_back_to, irreversible, "
      "applied_at";
  if (!brief) {
    columns +=
        ", token_sum, duration_us, applied_by, tool_version, statements_done, statement_sums, in_flight, objects, note";
  }
  GF_TRY(auto table, connection.query(fmt::format("SELECT {} FROM gameforge_migrations ORDER BY id", columns)));
  history.rows.reserve(table.rows.size());
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    auto& row = history.rows.emplace_back();
    row.id = table.integer(i, 0);
    row.version = table.integer(i, 1);
    row.name = table.text(i, 2);
    row.label = table.text(i, 3);
    row.direction = table.text(i, 4);
    row.state = table.text(i, 5);
    row.origin = table.text(i, 6);
    row.checksum = table.text(i, 7);
    row.declares_depends = !table.is_null(i, 8);
    row.depends = parse_list(table.text(i, 8));
    if (!table.is_null(i, 9)) row.compatible_back_to = table.integer(i, 9);
    row.irreversible = table.integer(i, 10) != 0;
    row.applied_at = table.text(i, 11);
    if (!brief) {
      row.token_sum = table.text(i, 12);
      row.duration_us = table.integer(i, 13);
      row.applied_by = table.text(i, 14);
      row.tool_version = table.text(i, 15);
      row.statements_done = table.integer(i, 16);
      row.statement_sums = table.text(i, 17);
      row.in_flight = table.text(i, 18);
      row.objects = table.text(i, 19);
      row.note = table.text(i, 20);
    }
    history.last_id = row.id;
    const bool done = row.state == "applied";
    // A later row of the same migration settles what an earlier one left open.
    if (history.unfinished && history.rows[*history.unfinished].label == row.label) history.unfinished.reset();
    if (!done) {
      history.unfinished = i;
      continue;
    }
    if (row.version == 0) {
      history.repeatable[row.name] = i;
    } else if (row.direction == "up") {
      history.by_version[row.version] = i;
    } else {
      history.by_version.erase(row.version);
    }
  }
  for (const auto& [version, index] : history.by_version) history.applied.push_back(index);
  std::sort(history.applied.begin(), history.applied.end());
  return history;
}

Result<void> create_tables(sql::Connection& connection) {
  const bool sqlite = connection.dialect() == sql::Dialect::sqlite;
  GF_TRYV(connection.execute(fmt::format(
      "CREATE TABLE IF NOT EXISTS gameforge_migrations (id {}, version bigint NOT NULL, name text NOT NULL, label text "
      "NOT "
      "NULL, direction text NOT NULL CHECK (direction IN ('up', 'down')), state text NOT NULL CHECK (state IN "
      "('applied', "
      "'running', 'failed')), origin text NOT NULL, checksum text NOT NULL, token_sum text NOT NULL, depends text, "
      "compatible_back_to bigint, irreversible integer NOT NULL, applied_at text NOT NULL, duration_us bigint NOT "
      "NULL, "
      "applied_by text NOT NULL, tool_version text NOT NULL, statements_done bigint NOT NULL, statement_sums text, "
      "in_flight text, down_sql text, objects text, note text)",
      sqlite ? "integer PRIMARY KEY" : "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY")));
  GF_TRYV(connection.execute(
      "CREATE TABLE IF NOT EXISTS gameforge_schema (id integer PRIMARY KEY CHECK (id = 1), history_id bigint NOT NULL, "
      "taken_at text NOT NULL, catalog text NOT NULL)"));
  return success();
}

Result<std::int64_t> add_record(sql::Connection& connection, const Record& record, const std::string& down_sql,
                                bool touched) {
  const std::vector<sql::Value> values = {
      record.version,
      record.name,
      record.label,
      record.direction,
      record.state,
      record.origin,
      record.checksum,
      record.token_sum,
      record.declares_depends ? sql::Value{fmt::format("{}", fmt::join(record.depends, ","))} : sql::Value{},
      record.compatible_back_to ? sql::Value{*record.compatible_back_to} : sql::Value{},
      std::int64_t{record.irreversible},
      record.applied_at,
      record.duration_us,
      record.applied_by,
      record.tool_version,
      record.statements_done,
      optional_text(record.statement_sums),
      optional_text(record.in_flight),
      optional_text(down_sql),
      optional_text(record.objects),
      optional_text(record.note),
  };
  static const std::string plain =
      "INSERT INTO gameforge_migrations (version, name, label, direction, state, origin, checksum, token_sum, depends, "
      "compatible_back_to, irreversible, applied_at, duration_us, applied_by, tool_version, statements_done, "
      "statement_sums, in_flight, down_sql, objects, note) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
      "$10, "
      "$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) RETURNING id";
  static const std::string asking = [] {
    std::string text = plain;
    const auto at = text.find("$20,");
    text.replace(at, 3, fmt::format("coalesce($20, {})", touched_objects));
    return text;
  }();
  GF_TRY(const auto rows, connection.query(touched ? asking : plain, values));
  return rows.integer(0, 0);
}

Result<void> update_record(sql::Connection& connection, const Record& record) {
  return connection.execute(
      "UPDATE gameforge_migrations SET state = $1, duration_us = $2, statements_done = $3, statement_sums = $4, "
      "in_flight = "
      "$5, objects = $6, note = $7 WHERE id = $8",
      std::vector<sql::Value>{record.state, record.duration_us, record.statements_done,
                              optional_text(record.statement_sums), optional_text(record.in_flight),
                              optional_text(record.objects), optional_text(record.note), record.id});
}

Result<void> update_sums(sql::Connection& connection, const Record& record, const std::string& down_sql) {
  return connection.execute(
      "UPDATE gameforge_migrations SET checksum = $1, token_sum = $2, note = $3, name = $4, label = $5, down_sql = $6 "
      "WHERE id = $7",
      std::vector<sql::Value>{record.checksum, record.token_sum, optional_text(record.note), record.name, record.label,
                              optional_text(down_sql), record.id});
}

Result<std::string> recorded_down(sql::Connection& connection, std::int64_t id) {
  GF_TRY(const auto rows,
         connection.query("SELECT down_sql FROM gameforge_migrations WHERE id = $1", std::vector<sql::Value>{id}));
  return rows.text(0, 0);
}

Result<std::int64_t> newest_id(sql::Connection& connection, std::int64_t known) {
  GF_TRY(const auto rows, connection.query("SELECT coalesce(max(id), $1) FROM gameforge_migrations WHERE id > $1",
                                           std::vector<sql::Value>{known}));
  return rows.integer(0, 0);
}

Result<std::optional<Snapshot>> read_snapshot(sql::Connection& connection) {
  GF_TRY(const bool exists, has_table(connection, snapshot_table));
  if (!exists) return std::optional<Snapshot>();
  GF_TRY(const auto rows, connection.query("SELECT history_id, taken_at, catalog FROM gameforge_schema"));
  if (rows.empty()) return std::optional<Snapshot>();
  Snapshot snapshot{rows.integer(0, 0), rows.text(0, 1), {}};
  GF_TRY(snapshot.catalog, from_record(rows.text(0, 2)));
  return std::optional<Snapshot>(std::move(snapshot));
}

Result<std::int64_t> snapshot_id(sql::Connection& connection) {
  GF_TRY(const auto rows, connection.query("SELECT coalesce(max(history_id), $1) FROM gameforge_schema",
                                           std::vector<sql::Value>{std::int64_t{0}}));
  return rows.integer(0, 0);
}

Result<void> write_snapshot(sql::Connection& connection, const Snapshot& snapshot) {
  return connection.execute(
      "INSERT INTO gameforge_schema (id, history_id, taken_at, catalog) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO "
      "UPDATE "
      "SET history_id = excluded.history_id, taken_at = excluded.taken_at, catalog = excluded.catalog",
      std::vector<sql::Value>{snapshot.history_id, snapshot.taken_at, to_record(snapshot.catalog)});
}

}  // namespace gf::migrate
