// How a runner gets the lock, waits for it, and says who has it.
#include "migrate/runner.hpp"

#include "base/files.hpp"
#include "base/ids.hpp"
#include "base/utf8.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace gf::migrate {

void pause_us(std::int64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

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

Result<History> Runner::read_history(bool brief) {
  // On SQLite a writer that commits keeps readers out for a moment; that is no empty history.
  const auto since_us = now_us();
  for (;;) {
    auto history = brief ? History::read_brief(connection_) : History::read(connection_);
    if (history || history.error().status != Status::locked || now_us() - since_us > settings_.lock_wait_us)
      return history;
    GF_TRYV(check_cancel());
    pause_us(20'000);
  }
}

Runner::LockOwner Runner::lock_owner() {
  if (sqlite()) {
    LockOwner owner;
    const auto pid = sql::sqlite_lock_owner(sqlite_path_);
    // What an open transaction writes shows in the sizes and times of the database's files.
    owner.sign = fmt::format("{}", pid);
    for (const char* suffix : {"", "-journal", "-wal"}) {
      struct stat file {};
      if (::stat((sqlite_path_ + suffix).c_str(), &file) != 0) continue;
      owner.sign += fmt::format("|{} {}.{}", file.st_size, file.st_mtim.tv_sec, file.st_mtim.tv_nsec);
    }
    if (pid == 0) {
      owner.words = "another connection to the file";
      return owner;
    }
    std::string name;
    if (const auto command = read_text(fmt::format("/proc/{}/comm", pid), 256)) name = command.value();
    while (!name.empty() && name.back() == '\n') name.pop_back();
    owner.words = fmt::format("process {}{}", pid, name.empty() ? "" : fmt::format(" ({})", name));
    return owner;
  }
  // The application's name ends with the migration that is at work: see begin_locked.
  const auto rows = connection_.query(fmt::format(
      "SELECT a.pid, a.application_name, coalesce(host(a.client_addr), 'local'), a.backend_start::text, "
      "coalesce(a.xact_start, a.query_start)::text, coalesce(a.query_start::text, ''), "
      "coalesce(a.state = 'active' AND a.wait_event_type IS DISTINCT FROM 'Lock', false) FROM pg_locks l JOIN "
      "pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {} AND l.objid "
      "= {} AND l.objsubid = 1",
      static_cast<std::uint64_t>(lock_key) >> 32, static_cast<std::uint64_t>(lock_key) & 0xFFFFFFFFu));
  if (!rows || rows.value().empty()) return {"another runner", "", false};
  const auto& row = rows.value();
  std::string words = fmt::format("server process {}, {}, from {}, connected since {}", row.integer(0, 0),
                                  shown(row.text(0, 1)), row.text(0, 2), row.text(0, 3));
  // Of another user's session the server tells no more.
  if (!row.is_null(0, 4)) words += fmt::format(", at this since {}", row.text(0, 4));
  return {std::move(words), fmt::format("{} {} {}", row.integer(0, 0), row.text(0, 1), row.text(0, 5)),
          row.integer(0, 6) != 0};
}

std::string Runner::blocking_session() {
  if (sqlite()) return lock_owner().words;
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

// Of this database, whose old snapshots a concurrent build waits for; a prepared transaction counts, though it has no
// session.
std::string Runner::oldest_transaction() {
  const auto rows = connection_.query(
      "SELECT * FROM (SELECT xact_start, 'server process ' || pid || ' (' || coalesce(application_name, '') || ', ' || "
      "coalesce(state, 'of another user') || ', its transaction open since ' || xact_start || ', last statement ' || "
      "left(query, 80) || ')' AS words FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() "
      "AND backend_type = 'client backend' AND datname = current_database() UNION ALL SELECT prepared, 'the prepared "
      "transaction ' || quote_literal(gid) || ', prepared at ' || prepared FROM pg_prepared_xacts WHERE database = "
      "current_database()) AS open ORDER BY xact_start LIMIT 1");
  if (!rows || rows.value().empty()) return "";
  return rows.value().text(0, 1);
}

// One turn of waiting for whoever has the lock. Gives up when nothing has moved for lock_wait_us: neither the records,
// nor the owner, nor what it does.
Result<void> Runner::wait(const LockOwner& owner, Waiting& waiting) {
  GF_TRYV(check_cancel());
  const auto now = now_us();
  if (waiting.since_us == 0) waiting.since_us = waiting.moved_at_us = now;
  tell(EventType::waiting, nullptr, 0, now - waiting.since_us, owner.words);
  const auto id = newest_id(connection_, 0);
  const bool recorded = id && id.value() != waiting.record_id;
  if (recorded) waiting.record_id = id.value();
  if (recorded || owner.at_work || owner.sign != waiting.sign) waiting.moved_at_us = now;
  waiting.sign = owner.sign;
  if (now - waiting.moved_at_us > settings_.lock_wait_us) {
    return Error{Status::locked,
                 fmt::format("the database's migrations are locked by {}; nothing moved for {} ms", owner.words,
                             settings_.lock_wait_us / 1000),
                 {}};
  }
  // Jitter keeps twenty waiters from asking in step.
  pause_us(10'000 + static_cast<std::int64_t>(random_bits() % 40'000));
  return success();
}

// Opens the transaction that holds the lock. The records are read only behind the lock, each by a statement of its own:
// one statement would see the database as it was before it waited.
Result<void> Runner::begin_locked(bool read_records, std::int64_t* newest, const std::string& label) {
  Waiting waiting;
  // Who waits for us reads in our session's name which migration we are at.
  const std::string name =
      sqlite() || label.empty()
          ? std::string()
          : fmt::format("set_config('application_name', concat(current_setting('application_name'), ' ', {}), true), ",
                        sql::quoted_text(label));
  for (;;) {
    if (sqlite()) {
      GF_TRYV(connection_.set_timeouts(100'000, 0));
      auto begun = connection_.execute("BEGIN IMMEDIATE");
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
      GF_TRYV(wait(lock_owner(), waiting));
      continue;
    }
    auto begun = connection_.script(
        fmt::format("BEGIN ISOLATION LEVEL READ COMMITTED; SELECT {}set_config('gameforge.locked', "
                    "pg_try_advisory_xact_lock({})::text, "
                    "true); SELECT current_setting('gameforge.locked') = 'true'{}",
                    name, lock_key, read_records ? ", (SELECT coalesce(max(id), 0) FROM gameforge_migrations)" : ""));
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
    GF_TRYV(wait(lock_owner(), waiting));
  }
}

Result<void> Runner::ensure_tables() {
  GF_TRYV(begin_locked(false, nullptr));
  auto made = create_tables(connection_);
  if (made) made = connection_.execute("COMMIT");
  if (!made && connection_.in_transaction()) (void)connection_.execute("ROLLBACK");
  return made;
}

}  // namespace gf::migrate
