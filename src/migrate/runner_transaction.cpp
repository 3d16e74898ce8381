// Migrations in a transaction: statements, verification and record are one.
#include "migrate/runner.hpp"

#include "base/ids.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gf::migrate {
Result<void> Runner::verify(const Step& step, Report& report) {
  if (step.direction != "up") return success();
  for (std::size_t i = 0; i < step.verify.statements.size(); ++i) {
    const auto& statement = step.verify.statements[i];
    const auto rows = connection_.query(statement.text);
    if (!rows) return statement_error(step, step.verify, i, report);
    const auto& found = rows.value();
    bool holds = found.columns.empty();
    if (!found.empty() && !found.is_null(0, 0)) {
      const auto* number = std::get_if<std::int64_t>(&found.rows[0][0]);
      holds = number == nullptr || *number != 0;
    }
    if (holds) continue;
    report.failure = FailureReport{"",
                                   step.verify.file,
                                   statement.place.line,
                                   statement.place.column,
                                   i + 1,
                                   statement.text,
                                   "",
                                   "the verification does not hold",
                                   "",
                                   "",
                                   ""};
    return Error{Status::wrong_state,
                 fmt::format("{} verification {}gave no true value", step.verify.prefix(statement.place),
                             describe(i, statement.text)),
                 {}};
  }
  return success();
}

Result<void> Runner::check_foreign_keys(const Step& step, Report&) {
  if (!sqlite() || step.text().header.foreign_keys) return success();
  GF_TRY(const auto broken, connection_.query("PRAGMA foreign_key_check"));
  if (broken.empty()) return success();
  return Error{Status::database_error,
               fmt::format("{}:1:1: {} rows would have no parent, the first in {} for {}", step.section.file,
                           broken.rows.size(), broken.text(0, 0), broken.text(0, 2)),
               {}};
}

Result<void> Runner::run_step_in_transaction(Step& step, Report& report) {
  const auto since_us = now_us();
  const auto& header = step.text().header;
  if (header.timeout_us != 0 || header.lock_timeout_us != 0 || timeouts_changed_) {
    const auto lock_us = header.lock_timeout_us != 0 ? header.lock_timeout_us : settings_.lock_timeout_us;
    const auto statement_us = header.timeout_us != 0 ? header.timeout_us : settings_.statement_timeout_us;
    GF_TRYV(connection_.set_timeouts(lock_us, statement_us));
    timeouts_changed_ = header.timeout_us != 0 || header.lock_timeout_us != 0;
  }
  tell(EventType::started, &step, 0, 0, "");
  touched_.clear();
  bool session_changed = false;
  for (std::size_t i = 0; i < step.section.statements.size(); ++i) {
    GF_TRYV(check_cancel());
    const auto& statement = step.section.statements[i];
    if (!connection_.execute(statement.text)) return statement_error(step, step.section, i, report);
    if (!connection_.in_transaction()) {
      return Error{
          Status::wrong_state,
          fmt::format("{} {}it ended the transaction of the migration; what came before it is applied, and no record "
                      "says so",
                      step.section.prefix(statement.place), describe(i, statement.text)),
          {}};
    }
    if (!sqlite())
      session_changed = session_changed || traits_of(statement.text, connection_.dialect()).changes_session;
    if (settings_.hooks.progress) tell(EventType::statement, &step, i + 1, now_us() - since_us, "");
  }
  GF_TRYV(verify(step, report));
  GF_TRYV(check_foreign_keys(step, report));
  // The file's own settings must not lead the record elsewhere.
  if (session_changed) {
    GF_TRYV(connection_.script("RESET ROLE; RESET search_path"));
  }
  auto record = record_of(step, "applied");
  record.statements_done = static_cast<std::int64_t>(step.section.statements.size());
  if (sqlite()) {
    for (const auto& name : touched_) record.objects += name + "\n";
  }
  std::string down;
  if (step.direction == "up" && !step.text().repeatable) {
    GF_TRY(const auto section, step.text().down(connection_.dialect(), settings_.variables));
    down = down_text_for_record(step.text(), section);
  }
  record.duration_us = now_us() - since_us;
  auto& told = report_of(step, report);
  if (collect_locks && !sqlite()) {
    GF_TRY(const auto locks,
           connection_.query(
               "SELECT DISTINCT c.oid::regclass::text, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
               "WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relnamespace NOT IN "
               "('pg_catalog'::regnamespace, 'pg_toast'::regnamespace) AND c.relname NOT LIKE 'gameforge\\_%' "
               "ORDER BY 1, 2"));
    for (std::size_t i = 0; i < locks.rows.size(); ++i) {
      told.locks.push_back(fmt::format("{} {}", locks.text(i, 0), locks.text(i, 1)));
    }
  } else if (collect_locks) {
    told.locks.push_back("the whole file, for writing");
  }
  GF_TRY(const auto id, add_record(connection_, record, down, !sqlite()));
  last_id_ = id;
  told.duration_us = record.duration_us;
  return success();
}

Result<Runner::Turn> Runner::run_in_transaction(std::vector<Step*> steps, Report& report, std::int64_t known_id) {
  for (const auto* step : steps) {
    if (settings_.hooks.before) {
      GF_TRYV(settings_.hooks.before(step->label(), step->direction));
    }
  }
  // PRAGMA foreign_keys does nothing inside a transaction, so it goes around it, and is put back on every path.
  struct ForeignKeys {
    sql::Connection* connection = nullptr;
    ~ForeignKeys() {
      if (connection != nullptr) (void)connection->execute("PRAGMA foreign_keys = ON");
    }
  } foreign_keys;
  const bool off =
      std::any_of(steps.begin(), steps.end(), [](const Step* s) { return !s->text().header.foreign_keys; });
  if (sqlite() && off) {
    GF_TRY(const auto before, connection_.query("PRAGMA foreign_keys"));
    if (before.integer(0, 0) != 0) foreign_keys.connection = &connection_;
    GF_TRYV(connection_.execute("PRAGMA foreign_keys = OFF"));
  }
  for (std::uint32_t attempt = 0;; ++attempt) {
    std::int64_t newest = 0;
    const auto waiting_since_us = now_us();
    GF_TRYV(begin_locked(tables_exist_, &newest, steps.front()->label()));
    report.waited_us += now_us() - waiting_since_us;
    if (!tables_exist_) {
      GF_TRYV(create_tables(connection_));
    }
    if (newest != known_id) {
      GF_TRYV(connection_.execute("ROLLBACK"));
      return Turn::stale;
    }
    Result<void> result = success();
    Step* current = steps.front();
    for (auto* step : steps) {
      current = step;
      result = run_step_in_transaction(*step, report);
      if (!result) break;
    }
    if (result && roll_back) {
      GF_TRY(auto inside, read_catalog(connection_));
      catalog_inside = std::move(inside);
      GF_TRYV(connection_.execute("ROLLBACK"));
      for (auto* step : steps) report_of(*step, report).done = true;
      return Turn::done;
    }
    if (result) {
      result = connection_.execute("COMMIT");
      if (!result) {
        const auto& failure = connection_.failure();
        result = Error{failure.status,
                       fmt::format("{}:1:1: the commit of {} failed: {}{}", current->section.file, current->label(),
                                   failure.message, failure.code.empty() ? "" : fmt::format(" [{}]", failure.code)),
                       {}};
      }
    }
    if (result) {
      for (auto* step : steps) {
        auto& told = report_of(*step, report);
        told.done = true;
        tell(EventType::finished, step, step->section.statements.size(), told.duration_us, "");
      }
      if (!sqlite()) {
        bool session_changed = false;
        for (auto* step : steps) {
          for (const auto& statement : step->section.statements) {
            session_changed = session_changed || traits_of(statement.text, connection_.dialect()).changes_session;
          }
        }
        if (session_changed) {
          GF_TRYV(connection_.script("RESET ALL; SET standard_conforming_strings = on"));
          GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, settings_.statement_timeout_us));
        }
        (void)connection_.take_notices();
      }
      for (const auto* step : steps) {
        if (settings_.hooks.after) {
          GF_TRYV(settings_.hooks.after(step->label(), step->direction));
        }
      }
      return Turn::done;
    }
    const bool alive = connection_.usable();
    if (alive && connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
    Error error = std::move(result).as_failure().error();
    if (alive && connection_.failure().code == "26000" && prepared_) {
      // A pooler gave us another server process, which does not know what we prepared.
      prepared_ = false;
      connection_.allow_prepared(false);
      report.failure.reset();
      continue;
    }
    if (alive && error.status == Status::locked && attempt < settings_.lock_retries) {
      const auto blocker = blocking_session();
      report.failure.reset();
      tell(EventType::retrying, current, 0, 0,
           fmt::format("attempt {} of {}: blocked by {}", attempt + 1, settings_.lock_retries + 1, blocker));
      GF_TRYV(check_cancel());
      pause_us((std::int64_t{100'000} << attempt) + static_cast<std::int64_t>(random_bits() % 100'000));
      continue;
    }
    if (alive && error.status == Status::locked) error.message += "; blocked by " + blocking_session();
    const std::string advice =
        alive ? fmt::format("nothing of {} is kept: correct the file and run again", current->label())
              : "the connection is gone, and with it what was not committed: run again";
    return failed(*current, std::move(error), report, advice);
  }
}

}  // namespace gf::migrate
