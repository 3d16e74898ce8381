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
  pause_us(10'000 + static_cast<std::int64_t>(random_bits() % 40'000));
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

}  // namespace gf::migrate
