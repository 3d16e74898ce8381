// migrate: brings a database's schema from where it is to where the files say, proves it before, and can go back. What
// the tables are for is none of its business, and neither is how a host shows a report.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "migrate/catalog.hpp"
#include "migrate/check.hpp"
#include "migrate/file.hpp"
#include "migrate/history.hpp"
#include "sql/sql.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gf::migrate {

enum class EventType : std::uint8_t { waiting, retrying, checking, started, statement, finished, failed };
std::string_view name_of(EventType type);

/// What the runner is doing. Borrowed for the call.
struct Event {
  EventType type = EventType::started;
  std::string label;            ///< "003_users"; empty where no migration is meant.
  std::int64_t version = 0;     ///< 0: none, or repeatable.
  std::string direction;        ///< "up", "down".
  std::uint64_t statement = 0;  ///< From 1; of `statements`.
  std::uint64_t statements = 0;
  std::int64_t elapsed_us = 0;
  std::string message;  ///< Who is waited for, why it is tried again, what failed.
};

/// Called on the thread that runs. A hook that fails stops the run: `before` with nothing begun, `after` with the
/// migration applied.
struct Hooks {
  std::function<void(const Event&)> progress;
  std::function<Result<void>(const std::string& label, const std::string& direction)> before;
  std::function<Result<void>(const std::string& label, const std::string& direction)> after;
};

struct Settings {
  std::string url;     ///< May be empty for what needs no database: validate, create.
  std::string folder;  ///< Of the files; empty: `embedded`.
  std::span<const EmbeddedFile> embedded;
  std::map<std::string, std::string> variables;
  std::string applied_by;  ///< Empty: user, host and process, as the system tells.
  std::string tool_version;
  const Clock* clock = &system_clock();
  /// How long another runner, or writer of a SQLite file, is waited for while its records do not move.
  std::int64_t lock_wait_us = 60'000'000;
  /// How long a statement waits for a table, and how often a migration is then tried again.
  std::int64_t lock_timeout_us = 3'000'000;
  std::uint32_t lock_retries = 5;
  std::int64_t statement_timeout_us = 0;  ///< 0: none.
  bool allow_out_of_order = false;
  bool all_or_nothing = false;  ///< All pending files in one transaction.
  bool checks = true;           ///< SQLite: every statement is compiled on a scratch before anything is applied.
  const std::atomic<bool>* cancel = nullptr;  ///< Looked at between statements and while waiting.
  Hooks hooks;
};

/// Where to go.
struct Goal {
  enum class Kind : std::uint8_t { up, rollback, rollback_to, rollback_steps, redo } kind = Kind::up;
  std::optional<std::int64_t> version;  ///< up: at most so far; rollback, rollback_to, redo: which. redo: the last one.
  std::uint64_t steps = 0;
  bool cascade = false;
};

/// One migration of a plan, and how it went.
struct StepReport {
  std::string label;
  std::int64_t version = 0;
  std::string direction;
  std::string file;
  std::string reason;  ///< "pending", "changed" (repeatable), "resume", "rollback", "depends on 003_users", "redo".
  bool transaction = true;
  std::vector<std::string> statements;
  std::vector<std::string> drops;  ///< Data that is lost.
  std::vector<Remark> warnings;
  bool done = false;
  std::int64_t duration_us = 0;
  std::vector<std::string> locks;         ///< prove: what it locked, "users AccessExclusiveLock".
  std::vector<SchemaDifference> changes;  ///< prove.
};

/// All that is known of what failed.
struct FailureReport {
  std::string label;
  std::string file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::uint64_t statement_number = 0;  ///< From 1; 0 when no statement is meant.
  std::string statement;
  std::string code;
  std::string message;
  std::string detail;
  std::string hint;
  std::string advice;  ///< What is applied now and what to do next.
};

struct Report {
  std::vector<StepReport> steps;
  std::vector<std::string> warnings;
  std::optional<FailureReport> failure;
  std::int64_t waited_us = 0;
  std::int64_t check_us = 0;  ///< Checks before, and the schema's snapshot behind the run.
  std::int64_t apply_us = 0;
  bool unchanged = false;                 ///< prove: the database's schema and records are what they were.
  std::vector<SchemaDifference> changes;  ///< prove: of the whole plan.
};

/// How one migration stands.
struct StatusEntry {
  std::string label;
  std::int64_t version = 0;
  /// applied, pending, edited (comments only), changed, missing (its file is gone), unknown (newer than every file),
  /// late (pending behind an applied one), unfinished, outdated (a repeatable one that will run again).
  std::string state;
  std::string applied_at;
  std::string applied_by;
  std::string origin;
  std::int64_t duration_us = 0;
  std::string detail;  ///< Unfinished: "up: 3 statements done"; changed: recorded and present sums.
};

struct StatusReport {
  std::string url;  ///< Without password.
  std::int64_t highest_applied = 0;
  std::vector<StatusEntry> entries;
  std::uint64_t pending = 0;
  std::uint64_t problems = 0;
};

struct ValidateReport {
  std::vector<Remark> warnings;
  std::vector<Error> errors;
  std::vector<SchemaDifference> drift;
  std::uint64_t checked = 0;
};

enum class Repair : std::uint8_t { accept_edit, mark_applied, mark_unapplied };

/// One database and one set of migrations. Not synchronised; its owner guards it. Connections are made for each call
/// and closed with it, so that no lock outlives one.
class Migrator {
 public:
  /// Reads and parses the files. Errors: those of read_folder and parse_files, and of order_of; invalid_argument (URL).
  static Result<Migrator> open(Settings settings);

  const std::vector<Migration>& migrations() const { return migrations_; }

  /// What apply would do. Nothing is written, not even the tables of records.
  Result<Report> plan(const Goal& goal) const;
  /// Does it. `report` is filled as far as it came, also with an error.
  Result<void> apply(const Goal& goal, Report& report) const;
  /// Does it on a scratch copy (SQLite: the whole database; PostgreSQL: a scratch database with the schema and no
  /// rows), or in place in a transaction that is rolled back, and tells times, locks and the difference.
  Result<void> prove(const Goal& goal, bool in_place, Report& report) const;

  Result<StatusReport> status() const;
  /// Files alone, and against the database where there is a URL: order, syntax, lint, edits, drift; and against the
  /// folder's file of sums, where there is one (see sums.hpp).
  Result<ValidateReport> validate() const;
  /// Up, down, up of every migration on a scratch database; errors are those that do not come back to the same schema.
  Result<ValidateReport> round_trip() const;
  Result<void> baseline(std::int64_t version, Report& report) const;
  Result<void> repair(Repair verb, std::int64_t version, const std::string& reason, Report& report) const;
  Result<std::string> dump() const;
  /// The live schema against that of the applied files on a scratch database.
  Result<std::vector<SchemaDifference>> diff() const;
  /// The live schema against that at the end of the last run.
  Result<std::vector<SchemaDifference>> drift() const;

  /// The path of the file that create would write now. Errors: those of read_folder; invalid_argument (a name without a
  /// letter or digit); already_exists.
  static Result<std::string> next_path(const std::string& folder, std::string_view name, const Clock& clock);
  /// Writes the next numbered file from a template and gives its path. Timestamps where the newest file has one. A file
  /// of sums that is there gets its line.
  static Result<std::string> create(const std::string& folder, std::string_view name, const Clock& clock);

 private:
  friend class Runner;
  Result<ValidateReport> validate_schema() const;
  Settings settings_;
  std::vector<Migration> migrations_;
  std::vector<std::size_t> order_;
};

/// As one JSON object, for hosts and for --json. Differences are its member of that name.
std::string to_json(const Report& report);
std::string to_json(const StatusReport& report);
std::string to_json(const ValidateReport& report);
std::string to_json(const std::vector<SchemaDifference>& differences);

}  // namespace gf::migrate
