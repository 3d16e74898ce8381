#include "migrate/runner.hpp"

#include "base/files.hpp"
#include "base/ids.hpp"
#include "base/utf8.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace gf::migrate {
namespace {

// "gameforg" in ASCII: one key a database, for the transaction's and the session's lock alike.
constexpr std::int64_t lock_key = 0x67616D65666F7267;

void sleep_us(std::int64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

std::string who_we_are() {
  char host[256] = "";
  (void)gethostname(host, sizeof host - 1);
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  std::string user = fmt::format("uid {}", geteuid());
  if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) user = found->pw_name;
  return fmt::format("{}@{} process {}", user, host, getpid());
}

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

std::string_view name_of(EventType type) {
  switch (type) {
    case EventType::waiting:
      return "waiting";
    case EventType::retrying:
      return "retrying";
    case EventType::checking:
      return "checking";
    case EventType::started:
      return "started";
    case EventType::statement:
      return "statement";
    case EventType::finished:
      return "finished";
    case EventType::failed:
      return "failed";
  }
  return "unknown";
}

Result<std::unique_ptr<SideLock>> SideLock::try_take(const std::string& database_path) {
  const std::string path = database_path + "-gameforge-migrate";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return system_error(errno, fmt::format("the lock {}", shown(path)));
  std::unique_ptr<SideLock> lock(new SideLock(path, descriptor));
  struct stat opened {};
  struct stat named {};
  // Whoever held it before may have removed the file between our open and our lock: then ours locks nothing.
  const bool ours = flock(descriptor, LOCK_EX | LOCK_NB) == 0 && fstat(descriptor, &opened) == 0 &&
                    ::stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
  if (ours) return lock;
  lock->path_.clear();
  return std::unique_ptr<SideLock>();
}

SideLock::~SideLock() {
  if (!path_.empty()) ::unlink(path_.c_str());
  ::close(descriptor_);
}

Runner::Runner(const Settings& settings, const std::vector<Migration>& migrations,
               const std::vector<std::size_t>& order, sql::Connection& connection, std::string sqlite_path)
    : settings_(settings),
      migrations_(migrations),
      order_(order),
      connection_(connection),
      sqlite_path_(std::move(sqlite_path)),
      by_(settings.applied_by.empty() ? who_we_are() : settings.applied_by) {}

void Runner::tell(EventType type, const Step* step, std::uint64_t statement, std::int64_t elapsed_us,
                  std::string message) const {
  if (!settings_.hooks.progress) return;
  Event event;
  event.type = type;
  if (step != nullptr) {
    event.label = step->label();
    event.version = step->record && step->direction == "down" ? step->record->version : step->text().version;
    event.direction = step->direction;
    event.statements = step->section.statements.size();
  }
  event.statement = statement;
  event.elapsed_us = elapsed_us;
  event.message = std::move(message);
  settings_.hooks.progress(event);
}

Result<void> Runner::check_cancel() const {
  if (settings_.cancel == nullptr || !settings_.cancel->load(std::memory_order_relaxed)) return success();
  return Error{Status::cancelled, "the run was cancelled", {}};
}

Result<History> Runner::read_history(bool brief) {
  // On SQLite a writer that commits keeps readers out for a moment; that is no empty history.
  const auto since_us = now_us();
  for (;;) {
    auto history = brief ? History::read_brief(connection_) : History::read(connection_);
    if (history || history.error().status != Status::locked || now_us() - since_us > settings_.lock_wait_us)
      return history;
    GF_TRYV(check_cancel());
    sleep_us(20'000);
  }
}

std::string Runner::lock_owner() {
  if (sqlite()) {
    const auto pid = sql::sqlite_lock_owner(sqlite_path_);
    if (pid == 0) return "another connection to the file";
    std::string name;
    if (const auto command = read_text(fmt::format("/proc/{}/comm", pid), 256)) name = command.value();
    while (!name.empty() && name.back() == '\n') name.pop_back();
    return fmt::format("process {}{}", pid, name.empty() ? "" : fmt::format(" ({})", name));
  }
  const auto rows = connection_.query(fmt::format(
      "SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'local'), a.state, a.backend_start::text FROM "
      "pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.classid = "
      "{} "
      "AND l.objid = {} AND l.objsubid = 1",
      static_cast<std::uint64_t>(lock_key) >> 32, static_cast<std::uint64_t>(lock_key) & 0xFFFFFFFFu));
  if (!rows || rows.value().empty()) return "another runner";
  const auto& row = rows.value();
  return fmt::format("server process {}, {}, from {}, connected since {}", row.integer(0, 0), shown(row.text(0, 1)),
                     row.text(0, 2), row.text(0, 4));
}

std::string Runner::blocking_session() {
  if (sqlite()) return lock_owner();
  const auto rows = connection_.query(
      "SELECT a.pid, a.application_name, a.state, a.xact_start::text, left(a.query, 80) FROM pg_stat_activity a WHERE "
      "a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid() AND a.datname = current_database() AND EXISTS (SELECT 1 "
      "FROM "
      "pg_locks l WHERE l.pid = a.pid AND l.granted AND l.locktype = 'relation') ORDER BY a.xact_start LIMIT 1");
  if (!rows || rows.value().empty()) return "a session that has ended since";
  const auto& row = rows.value();
  return fmt::format("server process {} ({}, {}, its transaction open since {}, last statement {})", row.integer(0, 0),
                     shown(row.text(0, 1)), row.text(0, 2), row.text(0, 3), shown(row.text(0, 4)));
}

// One turn of waiting for whoever has the lock. Gives up when the records have not moved for lock_wait_us.
Result<void> Runner::wait(const std::string& owner, std::int64_t since_us, std::int64_t* moved_id,
                          std::int64_t* moved_at_us) {
  GF_TRYV(check_cancel());
  const auto waited_us = now_us() - since_us;
  tell(EventType::waiting, nullptr, 0, waited_us, owner);
  if (const auto id = newest_id(connection_, 0); id && id.value() != *moved_id) {
    *moved_id = id.value();
    *moved_at_us = now_us();
  }
  if (now_us() - *moved_at_us > settings_.lock_wait_us) {
    return Error{Status::locked,
                 fmt::format("the database's migrations are locked by {}; nothing moved for {} ms", owner,
                             settings_.lock_wait_us / 1000),
                 {}};
  }
  // Jitter keeps twenty waiters from asking in step.
  sleep_us(10'000 + static_cast<std::int64_t>(random_bits() % 40'000));
  return success();
}

// Opens the transaction that holds the lock. The records are read only behind the lock, each by a statement of its own:
// one statement would see the database as it was before it waited.
Result<void> Runner::begin_locked(bool read_records, std::int64_t* newest) {
  const auto since_us = now_us();
  std::int64_t moved_id = -1;
  std::int64_t moved_at_us = since_us;
  for (;;) {
    if (sqlite()) {
      GF_TRYV(connection_.set_timeouts(100'000, 0));
      const auto begun = connection_.execute("BEGIN IMMEDIATE");
      if (begun) {
        GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, settings_.statement_timeout_us));
        if (read_records) {
          auto id = newest_id(connection_, 0);
          if (!id) {
            (void)connection_.execute("ROLLBACK");
            return std::move(id).as_failure();
          }
          *newest = id.value();
        }
        return success();
      }
      if (begun.error().status != Status::locked) return begun;
      GF_TRYV(wait(lock_owner(), since_us, &moved_id, &moved_at_us));
      continue;
    }
    auto begun = connection_.script(
        fmt::format("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT set_config('gameforge.locked', "
                    "pg_try_advisory_xact_lock({})::text, "
                    "true); SELECT current_setting('gameforge.locked') = 'true'{}",
                    lock_key, read_records ? ", (SELECT coalesce(max(id), 0) FROM gameforge_migrations)" : ""));
    if (!begun) {
      if (connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
      return std::move(begun).as_failure();
    }
    if (begun.value().integer(0, 0) != 0) {
      if (read_records) *newest = begun.value().integer(0, 1);
      return success();
    }
    // Nobody waits inside the server: a blocked transaction would hold back a concurrent index build of the owner's.
    GF_TRYV(connection_.execute("ROLLBACK"));
    GF_TRYV(wait(lock_owner(), since_us, &moved_id, &moved_at_us));
  }
}

Result<void> Runner::ensure_tables() {
  GF_TRYV(begin_locked(false, nullptr));
  auto made = create_tables(connection_);
  if (made) made = connection_.execute("COMMIT");
  if (!made && connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
  return made;
}

Record Runner::record_of(const Step& step, std::string state) const {
  Record record;
  const auto& text = step.text();
  if (step.direction == "down") {
    record = *step.record;
    record.objects.clear();
    record.statement_sums.clear();
    record.in_flight.clear();
    record.note.clear();
    record.statements_done = 0;
  } else {
    record.version = text.version;
    record.name = text.name;
    record.label = text.label();
    record.checksum = text.checksum;
    record.token_sum = text.token_sum(connection_.dialect());
    record.declares_depends = text.header.declares_depends;
    record.depends = text.header.depends;
    record.compatible_back_to = text.header.compatible_back_to;
    record.irreversible = text.header.irreversible;
  }
  record.direction = step.direction;
  record.state = std::move(state);
  record.origin = "run";
  record.applied_at = utc_text(settings_.clock->unix_us());
  record.applied_by = by_;
  record.tool_version = settings_.tool_version;
  return record;
}

StepReport& Runner::report_of(const Step& step, Report& report) const {
  const auto label = step.label();
  // Steps come in the report's order, so it is mostly the one behind the last.
  const auto is_it = [&](const StepReport& one) { return one.direction == step.direction && one.label == label; };
  for (std::size_t i = report_hint_; i < report.steps.size() && i < report_hint_ + 2; ++i) {
    if (!is_it(report.steps[i])) continue;
    report_hint_ = i;
    return report.steps[i];
  }
  for (std::size_t i = 0; i < report.steps.size(); ++i) {
    if (!is_it(report.steps[i])) continue;
    report_hint_ = i;
    return report.steps[i];
  }
  auto& added = report.steps.emplace_back();
  added.label = label;
  added.direction = step.direction;
  added.file = step.section.file;
  return added;
}

Error Runner::failed(const Step& step, Error error, Report& report, std::string advice) const {
  if (!report.failure) {
    report.failure.emplace();
    report.failure->message = error.message;
  }
  report.failure->label = step.label();
  if (report.failure->file.empty()) report.failure->file = step.section.file;
  report.failure->advice = advice;
  if (!advice.empty()) error.message += "; " + advice;
  tell(EventType::failed, &step, report.failure->statement_number, 0, error.message);
  return error;
}

// What the database said of a statement, with its place in the file.
Error Runner::statement_error(const Step&, const Section& section, std::size_t index, Report& report) const {
  const auto& failure = connection_.failure();
  const auto& statement = section.statements[index];
  const auto place = section.place_in(statement, failure.offset.value_or(0));
  std::string words = fmt::format("{} {}{}", section.prefix(place), describe(index, statement.text), failure.message);
  if (!failure.code.empty()) words += fmt::format(" [{}]", failure.code);
  if (!failure.detail.empty()) words += "; " + failure.detail;
  if (!failure.hint.empty()) words += "; hint: " + failure.hint;
  report.failure = FailureReport{"",           section.file,    place.line,     place.column, index + 1, statement.text,
                                 failure.code, failure.message, failure.detail, failure.hint, ""};
  return Error{failure.status, words, {}};
}

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
    GF_TRYV(begin_locked(tables_exist_, &newest));
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
      sleep_us((std::int64_t{100'000} << attempt) + static_cast<std::int64_t>(random_bits() % 100'000));
      continue;
    }
    if (alive && error.status == Status::locked) error.message += "; blocked by " + blocking_session();
    const std::string advice =
        alive ? fmt::format("nothing of {} is kept: correct the file and run again", current->label())
              : "the connection is gone, and with it what was not committed: run again";
    return failed(*current, std::move(error), report, advice);
  }
}

// ---- Outside a transaction ------------------------------------------------------------------------------------------

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
        (void)connection->query(fmt::format("SELECT pg_advisory_unlock({})", lock_key));
      }
    }
  } session;
  const auto since_us = now_us();
  std::int64_t moved_id = -1;
  std::int64_t moved_at_us = since_us;
  for (;;) {
    if (sqlite()) {
      if (sqlite_path_.empty()) break;
      GF_TRY(side, SideLock::try_take(sqlite_path_));
      if (side) break;
      GF_TRYV(wait("a runner whose migration runs outside a transaction", since_us, &moved_id, &moved_at_us));
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
    GF_TRYV(wait(lock_owner(), since_us, &moved_id, &moved_at_us));
  }
  report.waited_us += now_us() - since_us;
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

// ---- The whole run --------------------------------------------------------------------------------------------------

Result<void> Runner::check(const Plan& plan, Report& report) {
  const auto since_us = now_us();
  tell(EventType::checking, nullptr, 0, 0, "");
  for (const auto& step : plan.steps) {
    GF_TRYV(check_section(step.section, step.text().header, connection_.dialect()));
    GF_TRYV(check_section(step.verify, step.text().header, connection_.dialect()));
  }
  if (sqlite() && settings_.checks) {
    GF_TRY(const auto scratch, sql::open_sqlite(":memory:"));
    GF_TRY(const auto objects,
           connection_.query(
               "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
               "ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END, rowid"));
    for (std::size_t i = 0; i < objects.rows.size(); ++i) {
      // The tables behind a virtual table are made with it, and then a second time here.
      const auto made = scratch->execute(objects.text(i, 0));
      if (!made && made.error().message.find("already exists") == std::string::npos) return made;
    }
    for (const auto& step : plan.steps) {
      // A resumed file's first statements are in the live schema already.
      if (step.resume) continue;
      GF_TRYV(replay_on(*scratch, step.section));
    }
  }
  GF_TRY(const auto before, read_snapshot(connection_));
  if (before && before->history_id == last_id_) {
    GF_TRY(const auto live, read_catalog(connection_));
    for (const auto& difference : compare(before->catalog, live)) {
      report.warnings.push_back(fmt::format("the schema has drifted: {} {} was {}, and is {}", difference.kind,
                                            difference.name,
                                            difference.expected.empty() ? "not there" : difference.expected,
                                            difference.found.empty() ? "not there" : difference.found));
    }
  }
  report.check_us += now_us() - since_us;
  return success();
}

Result<void> Runner::snapshot(Report& report) {
  const auto since_us = now_us();
  GF_TRY(const auto taken, snapshot_id(connection_));
  if (taken == last_id_) return success();
  GF_TRY(const auto history, read_history());
  if (history.unfinished || taken == history.last_id) return success();
  std::int64_t newest = 0;
  GF_TRYV(begin_locked(true, &newest));
  Result<void> result = success();
  // A runner that is still at work takes it when it ends.
  if (newest == history.last_id) {
    auto catalog = read_catalog(connection_);
    result = catalog ? write_snapshot(connection_, {newest, utc_text(settings_.clock->unix_us()), catalog.value()})
                     : Result<void>(catalog.error());
  }
  if (result) result = connection_.execute("COMMIT");
  if (!result && connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
  report.check_us += now_us() - since_us;
  return result;
}

void describe_plan(const Plan& plan, sql::Dialect dialect, Report& report) {
  report.steps.clear();
  std::set<std::string> made;
  for (const auto& step : plan.steps) {
    auto& told = report.steps.emplace_back();
    told.label = step.label();
    told.version = step.direction == "down" && step.record ? step.record->version : step.text().version;
    told.direction = step.direction;
    told.file = step.section.file;
    told.reason = step.reason;
    told.transaction = step.text().header.transaction;
    for (const auto& statement : step.section.statements) {
      told.statements.push_back(statement.text);
      if (auto drops = traits_of(statement.text, dialect).drops; !drops.empty()) told.drops.push_back(std::move(drops));
    }
    if (step.direction == "up") told.warnings = lint(step.section, told.transaction, dialect, made);
  }
  report.warnings.insert(report.warnings.end(), plan.warnings.begin(), plan.warnings.end());
}

Result<void> Runner::prepare_connection() {
  if (sqlite()) {
    GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, 0));
    GF_TRYV(connection_.execute("PRAGMA foreign_keys = ON"));
    sql::watch_sqlite_schema(connection_, [this](std::string_view name) {
      if (!name.starts_with("gameforge_") && !name.starts_with("sqlite_")) touched_.emplace(name);
    });
  } else {
    GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, settings_.statement_timeout_us));
  }
  if (!sqlite() && !prepared_) {
    // Our own statements are prepared once where the server's process stays the same.
    GF_TRY(const auto backend, connection_.backend_id());
    prepared_ = true;
    for (int i = 0; i < 2; ++i) {
      GF_TRY(const auto again, connection_.backend_id());
      prepared_ = prepared_ && again == backend;
    }
    connection_.allow_prepared(prepared_);
  }
  return success();
}

Result<void> Runner::run_single(const Migration& migration, bool up, Report& report) {
  GF_TRYV(prepare_connection());
  GF_TRY(auto history, read_history());
  if (!history.exists) {
    GF_TRYV(ensure_tables());
  }
  const PlanInput input{settings_, migrations_, order_, history, connection_};
  GF_TRY(auto step, single_step(input, migration, up ? nullptr : history.find(migration.version)));
  const bool outside = !step.text().header.transaction;
  GF_TRYV(outside ? run_outside(step, report, history.last_id) : run_in_transaction({&step}, report, history.last_id));
  return success();
}

Result<void> Runner::mark(const Migration& migration, const Record* record, const std::string& origin,
                          const std::string& reason, Report& report) {
  Step step;
  step.migration = &migration;
  step.direction = record == nullptr ? "up" : "down";
  if (record != nullptr) step.record = *record;
  Record marked = record_of(step, "applied");
  marked.origin = origin;
  marked.note = reason;
  marked.duration_us = 0;
  std::string down;
  if (record == nullptr) {
    GF_TRY(const auto section, migration.down(connection_.dialect(), settings_.variables));
    down = down_text_for_record(migration, section);
  }
  GF_TRYV(add_record(connection_, marked, down, false));
  auto& told = report.steps.emplace_back();
  told.label = marked.label;
  told.version = marked.version;
  told.direction = marked.direction;
  told.reason = origin;
  told.done = true;
  return success();
}

Result<void> Runner::run(const Goal& goal, Report& report) {
  GF_TRYV(prepare_connection());
  bool first = true;
  bool tables = false;
  std::set<std::string> intended;  // Rollback, redo: what the first plan meant, so that no later plan reaches further.
  for (;;) {
    GF_TRY(const auto history, read_history(true));
    last_id_ = history.last_id;
    tables = history.exists;
    const PlanInput input{settings_, migrations_, order_, history, connection_};
    Plan plan;
    if (first || goal.kind == Goal::Kind::up) {
      GF_TRY(plan, make_plan(input, goal));
      if (first) describe_plan(plan, connection_.dialect(), report);
    } else {
      // Another runner was faster. What it undid is undone; what is left of ours is undone by version.
      for (const auto& step : report.steps) {
        if (step.done) continue;
        const bool applied = history.find(step.version) != nullptr;
        if ((step.direction == "down") != applied) continue;
        if (step.direction == "down") {
          GF_TRY(auto part, make_plan(input, Goal{Goal::Kind::rollback, step.version, 0, true}));
          for (auto& one : part.steps) {
            if (!intended.contains(one.label())) {
              return Error{Status::wrong_state,
                           fmt::format("{} was applied by another runner meanwhile, on top of what is to be undone",
                                       one.label()),
                           {}};
            }
          }
          for (auto& one : part.steps) {
            const bool planned = std::any_of(plan.steps.begin(), plan.steps.end(),
                                             [&](const Step& other) { return other.label() == one.label(); });
            if (!planned) plan.steps.push_back(std::move(one));
          }
        } else {
          GF_TRY(auto part, make_plan(input, Goal{Goal::Kind::up, step.version, 0, false}));
          for (auto& one : part.steps) {
            if (one.label() == step.label) plan.steps.push_back(std::move(one));
          }
        }
      }
    }
    if (first) {
      for (const auto& step : plan.steps) intended.insert(step.label());
    }
    if (plan.steps.empty()) break;
    if (first && !bare) {
      if (auto checked = check(plan, report); !checked) {
        // Without the lock the schema may be newer than the records that the plan was made from. Then the plan is what
        // is wrong, and it is made anew; each turn means that another runner got further.
        GF_TRY(const auto now, read_history(true));
        if (now.last_id != history.last_id || now.exists != history.exists) continue;
        return checked;
      }
    }
    if (roll_back) {
      tables_exist_ = history.exists;
    } else if (!history.exists) {
      GF_TRYV(ensure_tables());
    }
    first = false;
    tables = true;
    const auto since_us = now_us();
    bool stale = false;
    if (settings_.all_or_nothing || roll_back) {
      std::vector<Step*> all;
      for (auto& step : plan.steps) {
        if (!step.text().header.transaction || step.resume) {
          return Error{Status::unsupported,
                       fmt::format("{} runs outside a transaction, so it cannot be one with the others", step.label()),
                       {}};
        }
        all.push_back(&step);
      }
      GF_TRY(const auto turn, run_in_transaction(all, report, last_id_));
      stale = turn == Turn::stale;
    } else {
      for (auto& step : plan.steps) {
        GF_TRYV(check_cancel());
        const bool outside = !step.text().header.transaction || step.resume;
        GF_TRY(const auto turn,
               outside ? run_outside(step, report, last_id_) : run_in_transaction({&step}, report, last_id_));
        stale = turn == Turn::stale;
        if (stale) break;
      }
    }
    report.apply_us += now_us() - since_us;
    if (!stale) break;
  }
  // What another runner did in our place is no part of this report.
  std::erase_if(report.steps, [](const StepReport& step) { return !step.done; });
  if (!bare && !roll_back && tables) {
    GF_TRYV(snapshot(report));
  }
  return success();
}

Result<void> Runner::change_records(const std::function<Result<void>(const History&)>& change) {
  if (sqlite()) {
    GF_TRYV(connection_.set_timeouts(settings_.lock_timeout_us, 0));
  }
  GF_TRY(const auto before, read_history());
  if (!before.exists) {
    GF_TRYV(ensure_tables());
  }
  std::int64_t newest = 0;
  GF_TRYV(begin_locked(true, &newest));
  Result<void> result = success();
  auto history = History::read(connection_);
  result = history ? change(history.value()) : Result<void>(history.error());
  if (result) result = connection_.execute("COMMIT");
  if (!result && connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
  return result;
}

}  // namespace gf::migrate
