// Migrations outside a transaction: each statement is marked when it is done, and a later run goes on behind it.
#include "migrate/runner.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gf::migrate {
namespace {

bool is_word(const std::vector<std::string>& words, std::size_t i, std::string_view word) {
  return i < words.size() && words[i] == word;
}

/// The index that CREATE INDEX CONCURRENTLY makes, quoted as it is written, or empty where it has no name.
std::string concurrent_index(std::string_view statement) {
  const auto words = sql::leading_tokens(statement, sql::Dialect::postgresql, 16);
  std::size_t i = 1;
  if (!is_word(words, 0, "create")) return "";
  if (is_word(words, i, "unique")) ++i;
  if (!is_word(words, i, "index") || !is_word(words, i + 1, "concurrently")) return "";
  i += 2;
  if (is_word(words, i, "if")) i += 3;
  if (i >= words.size() || words[i] == "on") return "";
  return words[i];
}

/// The table that the index is on, as it is written: the index lies in its schema.
std::string table_of_index(std::string_view statement) {
  const auto words = sql::leading_tokens(statement, sql::Dialect::postgresql, 24);
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] != "on") continue;
    std::size_t at = is_word(words, i + 1, "only") ? i + 2 : i + 1;
    if (at >= words.size()) return "";
    std::string name = words[at];
    while (is_word(words, at + 1, ".") && at + 2 < words.size()) {
      name += "." + words[at + 2];
      at += 2;
    }
    return name;
  }
  return "";
}

}  // namespace

// Before a concurrent build is tried again: what a broken one left is dropped; `done` when a valid one stands there.
Result<void> Runner::mend_index(const FileStatement& statement, bool* done) {
  *done = false;
  const std::string name = concurrent_index(statement.text);
  if (name.empty()) return success();
  GF_TRY(const auto state,
         connection_.query("SELECT i.indisvalid, i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid "
                           "= i.indexrelid WHERE "
                           "i.indrelid = to_regclass($1) AND c.relname = $2",
                           std::vector<sql::Value>{table_of_index(statement.text),
                                                   name.starts_with('"') ? name.substr(1, name.size() - 2) : name}));
  if (state.empty()) return success();
  if (state.integer(0, 0) != 0) {
    *done = true;
    return success();
  }
  return connection_.execute("DROP INDEX CONCURRENTLY IF EXISTS " + state.text(0, 1));
}

// The runner was killed between the beginning and the record of one statement: what is known of such a statement?
Result<void> Runner::settle_in_flight(Step& step, Record& record, Report&) {
  const auto sums = statement_sums(step.section);
  const auto done = static_cast<std::size_t>(record.statements_done);
  if (record.in_flight.empty() || done >= sums.size()) return success();
  const auto& statement = step.section.statements[done];
  if (!sqlite() && !concurrent_index(statement.text).empty()) {
    bool built = false;
    GF_TRYV(mend_index(statement, &built));
    if (built && sums[done] == record.in_flight) {
      ++record.statements_done;
      record.statement_sums += sums[done] + "\n";
    }
    record.in_flight.clear();
    return success();
  }
  if (sums[done] == record.in_flight && traits_of(statement.text, connection_.dialect()).repeatable) {
    record.in_flight.clear();
    return success();
  }
  return Error{
      Status::wrong_state,
      fmt::format("{} {}the runner was stopped while it ran, and it may or may not have been done; look, then say "
                  "`repair --mark-applied {}` when the whole file is done, or `repair --mark-unapplied {}` when "
                  "nothing of it is",
                  step.section.prefix(statement.place), describe(done, statement.text), record.version, record.version),
      {}};
}

Result<void> Runner::run_statement_outside(const Step& step, std::size_t index, Record& record, bool own_transactions) {
  const auto& statement = step.section.statements[index];
  const auto dialect = connection_.dialect();
  const auto traits = traits_of(statement.text, dialect);
  const auto sum = statement_sums(step.section)[index];
  const auto words = sql::leading_tokens(statement.text, dialect, 400);
  // A procedure, or a block that commits by itself, fails inside a transaction.
  const bool commits_inside =
      is_word(words, 0, "call") || (is_word(words, 0, "do") && (statement.text.find("commit") != std::string::npos ||
                                                                statement.text.find("COMMIT") != std::string::npos));
  const bool bare_statement = own_transactions || traits.outside_transaction_only || traits.silent_in_transaction ||
                              commits_inside || (dialect == sql::Dialect::sqlite && is_word(words, 0, "pragma"));
  const auto tick = [&] {
    ++record.statements_done;
    record.statement_sums += sum + "\n";
    record.in_flight.clear();
    return update_record(connection_, record);
  };
  if (!bare_statement) {
    // One transaction for the statement and its tick: it is never in doubt whether it was done.
    GF_TRY(auto transaction, sql::Transaction::begin(connection_, sqlite() ? "BEGIN IMMEDIATE" : "BEGIN"));
    GF_TRYV(connection_.execute(statement.text));
    GF_TRYV(tick());
    return transaction.commit();
  }
  const bool inside = connection_.in_transaction();
  if (inside && traits.ends_or_begins_transaction) {
    // The file's own COMMIT carries the tick for itself.
    GF_TRYV(tick());
    return connection_.execute(statement.text);
  }
  if (!inside && !traits.ends_or_begins_transaction) {
    record.in_flight = sum;
    GF_TRYV(update_record(connection_, record));
  }
  if (!sqlite() && traits.outside_transaction_only) {
    // A concurrent build waits for every old snapshot; the wait for a table's lock must not cut that short.
    GF_TRYV(connection_.set_timeouts(0, step.text().header.timeout_us));
    auto result = connection_.execute(statement.text);
    GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, settings_.statement_timeout_us));
    if (!result) return result;
    const std::string name = concurrent_index(statement.text);
    if (!name.empty()) {
      // IF NOT EXISTS is content with an index that a broken build left.
      GF_TRY(const auto invalid,
             connection_.query(
                 "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE "
                 "NOT i.indisvalid AND i.indrelid = to_regclass($1) AND c.relname = $2",
                 std::vector<sql::Value>{table_of_index(statement.text),
                                         name.starts_with('"') ? name.substr(1, name.size() - 2) : name}));
      if (!invalid.empty()) {
        record.in_flight.clear();
        return Error{
            Status::wrong_state,
            fmt::format(
                "{} {}the index {} is invalid, left by a build that broke; DROP INDEX CONCURRENTLY {}; then run "
                "again",
                step.section.prefix(statement.place), describe(index, statement.text), invalid.text(0, 0),
                invalid.text(0, 0)),
            {}};
      }
    }
    return tick();
  }
  GF_TRYV(connection_.execute(statement.text));
  return tick();
}

Result<void> Runner::run_outside_locked(Step& step, Report& report, Record record) {
  const auto since_us = now_us();
  const auto sums = statement_sums(step.section);
  const auto dialect = connection_.dialect();
  bool resumed = false;
  if (step.resume) {
    // What was done must still be what the file says was to be done.
    std::vector<std::string> done;
    for (std::size_t from = 0; from < record.statement_sums.size();) {
      const auto end = record.statement_sums.find('\n', from);
      done.push_back(record.statement_sums.substr(from, end - from));
      from = end == std::string::npos ? record.statement_sums.size() : end + 1;
    }
    const bool same = done.size() <= sums.size() && std::equal(done.begin(), done.end(), sums.begin());
    if (!same) {
      return failed(
          step,
          Error{Status::checksum_mismatch,
                fmt::format("{}:1:1: the first {} statements were done already, and the file has changed there",
                            step.section.file, done.size()),
                {}},
          report,
          fmt::format("put them back as they were, or say `repair --mark-applied {0}` or `--mark-unapplied {0}`",
                      record.version));
    }
    resumed = true;
    if (auto settled = settle_in_flight(step, record, report); !settled) {
      return failed(step, settled.error(), report, "");
    }
    if (step.direction == "up") {
      record.checksum = step.text().checksum;
      record.token_sum = step.text().token_sum(dialect);
      GF_TRY(const auto section, step.text().down(dialect, settings_.variables));
      GF_TRYV(update_sums(connection_, record, down_text_for_record(step.text(), section)));
    }
    record.state = "running";
    record.note.clear();
    GF_TRYV(update_record(connection_, record));
  } else {
    std::string down;
    if (step.direction == "up" && !step.text().repeatable) {
      GF_TRY(const auto section, step.text().down(dialect, settings_.variables));
      down = down_text_for_record(step.text(), section);
    }
    GF_TRY(record.id, add_record(connection_, record, down, false));
    last_id_ = record.id;
  }
  const bool own_transactions =
      std::any_of(step.section.statements.begin(), step.section.statements.end(),
                  [&](const auto& statement) { return traits_of(statement.text, dialect).ends_or_begins_transaction; });
  tell(EventType::started, &step, static_cast<std::uint64_t>(record.statements_done), 0, resumed ? "resumed" : "");
  while (static_cast<std::size_t>(record.statements_done) < step.section.statements.size()) {
    const auto index = static_cast<std::size_t>(record.statements_done);
    Result<void> result = check_cancel();
    Record running = record;
    if (result) {
      if (resumed && !sqlite()) {
        bool built = false;
        result = mend_index(step.section.statements[index], &built);
      }
      if (result) result = run_statement_outside(step, index, running, own_transactions);
    }
    if (!result) {
      const bool alive = connection_.usable();
      Error error = result.error();
      if (error.status != Status::cancelled && !error.message.starts_with(step.section.file)) {
        error = statement_error(step, step.section, index, report);
        // A concurrent build waits for the transactions that were there before it: who reads that it was cut short
        // wants to know whose.
        const std::string code = connection_.failure().code;
        if (alive && !sqlite() && (code == "57014" || code == "55P03" || code == "40P01") &&
            traits_of(step.section.statements[index].text, dialect).outside_transaction_only) {
          if (const auto oldest = oldest_transaction(); !oldest.empty()) {
            error.message += "; the oldest transaction that is open: " + oldest;
            auto& detail = report.failure->detail;
            detail += (detail.empty() ? "" : "; ") + ("the oldest transaction that is open: " + oldest);
          }
        }
      }
      if (!alive)
        return failed(step, std::move(error), report, "the connection is gone: run again, and it goes on from there");
      if (connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
      // A transaction of the file's own took its ticks with it; the row says what is left.
      GF_TRY(const auto history, read_history());
      Record kept = record;
      for (const auto& row : history.rows) {
        if (row.id == record.id) kept = row;
      }
      kept.state = "failed";
      kept.in_flight.clear();
      kept.note = error.message.substr(0, 2000);
      GF_TRYV(update_record(connection_, kept));
      return failed(
          step, std::move(error), report,
          fmt::format(
              "{} of {} statements are done and stay: correct the rest and run again, which goes on behind them, "
              "or `rollback {}`",
              kept.statements_done, step.section.statements.size(), record.version));
    }
    record = std::move(running);
    tell(EventType::statement, &step, static_cast<std::uint64_t>(record.statements_done), now_us() - since_us, "");
  }
  if (auto verified = verify(step, report); !verified) {
    record.state = "failed";
    record.note = verified.error().message.substr(0, 2000);
    GF_TRYV(update_record(connection_, record));
    return failed(step, verified.error(), report,
                  "every statement is done and stays: correct what does not hold, and run again");
  }
  record.state = "applied";
  record.duration_us += now_us() - since_us;
  GF_TRYV(update_record(connection_, record));
  auto& told = report_of(step, report);
  told.done = true;
  told.duration_us = record.duration_us;
  tell(EventType::finished, &step, step.section.statements.size(), told.duration_us, "");
  return success();
}

Result<Runner::Turn> Runner::run_outside(Step& step, Report& report, std::int64_t known_id) {
  if (roll_back) {
    return Error{Status::unsupported,
                 fmt::format("{} runs outside a transaction, so it cannot be proved in place", step.label()),
                 {}};
  }
  if (settings_.hooks.before) {
    GF_TRYV(settings_.hooks.before(step.label(), step.direction));
  }
  // A lock that outlives transactions, and dies with us: the session's on PostgreSQL, the kernel's beside a SQLite
  // file.
  std::unique_ptr<SideLock> side;
  struct SessionLock {
    sql::Connection* connection = nullptr;
    ~SessionLock() {
      if (connection != nullptr && connection->usable()) {
        (void)connection->script(fmt::format("RESET application_name; SELECT pg_advisory_unlock({})", lock_key));
      }
    }
  } session;
  const auto since_us = now_us();
  Waiting waiting;
  for (;;) {
    if (sqlite()) {
      if (sqlite_path_.empty()) break;
      GF_TRY(side, SideLock::try_take(sqlite_path_));
      if (side) break;
      auto owner = lock_owner();
      owner.words = "a runner whose migration runs outside a transaction, " + owner.words;
      GF_TRYV(wait(owner, waiting));
      continue;
    }
    GF_TRY(const auto taken,
           connection_.query(fmt::format("SELECT pg_try_advisory_lock({}), pg_backend_pid()", lock_key)));
    if (taken.integer(0, 0) != 0) {
      session.connection = &connection_;
      for (int i = 0; i < 3; ++i) {
        GF_TRY(const auto backend, connection_.backend_id());
        if (backend == taken.integer(0, 1)) continue;
        return Error{Status::unsupported,
                     "the connection goes through a pooler in transaction mode, where a lock cannot be kept; use a "
                     "direct URL for "
                     "migrations outside a transaction",
                     {}};
      }
      break;
    }
    GF_TRYV(wait(lock_owner(), waiting));
  }
  report.waited_us += now_us() - since_us;
  if (!sqlite()) {
    GF_TRYV(connection_.query(fmt::format(
        "SELECT set_config('application_name', concat(current_setting('application_name'), ' ', {}), false)",
        sql::quoted_text(step.label()))));
  }
  // Behind the lock the records may be others than those that the plan was made from, and a resumed row may have moved.
  GF_TRY(const auto history, read_history());
  if (history.last_id != known_id) return Turn::stale;
  Record record = record_of(step, "running");
  if (step.resume) {
    if (!history.unfinished || history.rows[*history.unfinished].id != step.record->id) return Turn::stale;
    record = history.rows[*history.unfinished];
  }
  GF_TRYV(run_outside_locked(step, report, std::move(record)));
  if (settings_.hooks.after) {
    GF_TRYV(settings_.hooks.after(step.label(), step.direction));
  }
  return Turn::done;
}

}  // namespace gf::migrate
