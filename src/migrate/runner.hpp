// Carries out a plan on one connection: lock, transaction, statements, record, in that order, every time.
#pragma once

#include "migrate/migrate.hpp"
#include "migrate/plan.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gf::migrate {

/// "gameforg" in ASCII: one key a database, for the transaction's and the session's lock alike.
constexpr std::int64_t lock_key = 0x67616D65666F7267;

/// Sleeps, for a turn of waiting.
void pause_us(std::int64_t us);

/// A lock beside a SQLite file for migrations outside a transaction, where SQLite's own lock cannot be kept. It is the
/// kernel's (flock), so it dies with its holder; the file goes with it.
class SideLock {
 public:
  /// True when it is ours now.
  static Result<std::unique_ptr<SideLock>> try_take(const std::string& database_path);  ///< Null: another has it.
  ~SideLock();
  SideLock(const SideLock&) = delete;
  SideLock& operator=(const SideLock&) = delete;

 private:
  SideLock(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_;
};

class Runner {
 public:
  /// `sqlite_path` is empty for PostgreSQL, and for a database in memory.
  Runner(const Settings& settings, const std::vector<Migration>& migrations, const std::vector<std::size_t>& order,
         sql::Connection& connection, std::string sqlite_path);

  /// Plans, runs, and plans again whenever another runner was faster.
  Result<void> run(const Goal& goal, Report& report);
  /// One transaction for a change of the records alone: tables, lock, `change`, commit.
  Result<void> change_records(const std::function<Result<void>(const History&)>& change);
  Result<History> read_history(bool brief = false);
  /// One migration by itself, for scratch databases: up, or down where it is applied there.
  Result<void> run_single(const Migration& migration, bool up, Report& report);
  /// A record without anything run, inside change_records: up of `migration`, or down of `record`.
  Result<void> mark(const Migration& migration, const Record* record, const std::string& origin,
                    const std::string& reason, Report& report);
  const std::string& by() const { return by_; }

  /// prove: fill StepReport::locks.
  bool collect_locks = false;
  /// prove in place: everything is rolled back at the end.
  bool roll_back = false;
  /// No syntax check, drift check or snapshot: for scratch databases.
  bool bare = false;
  /// prove in place: the schema as it was just before everything was rolled back.
  std::optional<Catalog> catalog_inside;

 private:
  enum class Turn : std::uint8_t { done, stale };

  /// Who has the lock that we wait for.
  struct LockOwner {
    std::string words;     ///< For people.
    std::string sign;      ///< Another one means that the owner got further.
    bool at_work = false;  ///< PostgreSQL: a statement of its runs, and waits for nobody.
  };
  /// A wait, and when what it waits for last moved.
  struct Waiting {
    std::int64_t since_us = 0;
    std::int64_t moved_at_us = 0;
    std::int64_t record_id = -1;
    std::string sign;
  };

  Result<void> prepare_connection();
  Result<void> check(const Plan& plan, Report& report);
  Result<void> ensure_tables();
  /// `label`: of the migration that it is for, which whoever waits for us is told; may be empty.
  Result<void> begin_locked(bool read_records, std::int64_t* newest, const std::string& label = {});
  Result<Turn> run_in_transaction(std::vector<Step*> steps, Report& report, std::int64_t known_id);
  Result<void> run_step_in_transaction(Step& step, Report& report);
  Result<Turn> run_outside(Step& step, Report& report, std::int64_t known_id);
  Result<void> run_outside_locked(Step& step, Report& report, Record record);
  Result<void> run_statement_outside(const Step& step, std::size_t index, Record& record, bool own_transactions);
  Result<void> settle_in_flight(Step& step, Record& record, Report& report);
  Result<void> mend_index(const FileStatement& statement, bool* done);
  Result<void> verify(const Step& step, Report& report);
  Result<void> check_foreign_keys(const Step& step, Report& report);
  Result<void> snapshot(Report& report);
  Result<void> wait(const LockOwner& owner, Waiting& waiting);
  LockOwner lock_owner();
  std::string blocking_session();
  std::string oldest_transaction();
  Record record_of(const Step& step, std::string state) const;
  Error statement_error(const Step& step, const Section& section, std::size_t index, Report& report) const;
  Error failed(const Step& step, Error error, Report& report, const std::string& advice) const;
  void tell(EventType type, const Step* step, std::uint64_t statement, std::int64_t elapsed_us,
            std::string message) const;
  Result<void> check_cancel() const;
  bool sqlite() const { return connection_.dialect() == sql::Dialect::sqlite; }
  std::int64_t now_us() const { return settings_.clock->now_us(); }
  StepReport& report_of(const Step& step, Report& report) const;

  const Settings& settings_;
  const std::vector<Migration>& migrations_;
  const std::vector<std::size_t>& order_;
  sql::Connection& connection_;
  std::string sqlite_path_;
  std::string by_;
  std::set<std::string> touched_;  // SQLite: names that the running migration's statements named.
  std::int64_t last_id_ = 0;       // Of the record that was written last.
  bool timeouts_changed_ = false;
  bool tables_exist_ = true;
  bool prepared_ = false;                // PostgreSQL: our statements are prepared on the connection.
  mutable std::size_t report_hint_ = 0;  // Where report_of found its last.
};

/// What a plan is, without running it.
void describe_plan(const Plan& plan, sql::Dialect dialect, Report& report);

}  // namespace gf::migrate
