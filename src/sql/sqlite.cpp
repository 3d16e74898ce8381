// The SQLite side of the interface.
#include "sql/lexer.hpp"
#include "sql/sql.hpp"

#include "base/clock.hpp"
#include "base/utf8.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <list>
#include <mutex>
#include <unordered_map>

namespace gf::sql {
namespace {

std::string name_of_code(int code) {
  switch (code & 0xFF) {
#define GF_DETAIL_CODE(name) \
  case name:                 \
    return #name;
    GF_DETAIL_CODE(SQLITE_ERROR)
    GF_DETAIL_CODE(SQLITE_INTERNAL)
    GF_DETAIL_CODE(SQLITE_PERM)
    GF_DETAIL_CODE(SQLITE_ABORT)
    GF_DETAIL_CODE(SQLITE_BUSY)
    GF_DETAIL_CODE(SQLITE_LOCKED)
    GF_DETAIL_CODE(SQLITE_NOMEM)
    GF_DETAIL_CODE(SQLITE_READONLY)
    GF_DETAIL_CODE(SQLITE_INTERRUPT)
    GF_DETAIL_CODE(SQLITE_IOERR)
    GF_DETAIL_CODE(SQLITE_CORRUPT)
    GF_DETAIL_CODE(SQLITE_NOTFOUND)
    GF_DETAIL_CODE(SQLITE_FULL)
    GF_DETAIL_CODE(SQLITE_CANTOPEN)
    GF_DETAIL_CODE(SQLITE_PROTOCOL)
    GF_DETAIL_CODE(SQLITE_SCHEMA)
    GF_DETAIL_CODE(SQLITE_TOOBIG)
    GF_DETAIL_CODE(SQLITE_CONSTRAINT)
    GF_DETAIL_CODE(SQLITE_MISMATCH)
    GF_DETAIL_CODE(SQLITE_MISUSE)
    GF_DETAIL_CODE(SQLITE_AUTH)
    GF_DETAIL_CODE(SQLITE_RANGE)
    GF_DETAIL_CODE(SQLITE_NOTADB)
#undef GF_DETAIL_CODE
    default:
      return "SQLITE";
  }
}

/// Shared with cancellers: the connection may go while a thread is about to cancel.
struct Interrupt final : Canceller {
  std::mutex mutex;
  sqlite3* database = nullptr;  // Guarded by mutex; null once closed.

  void cancel() noexcept override {
    const std::scoped_lock lock(mutex);
    if (database != nullptr) sqlite3_interrupt(database);
  }
};

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using StatementPtr = std::unique_ptr<sqlite3_stmt, Finalize>;

class Sqlite final : public Connection {
 public:
  explicit Sqlite(sqlite3* database) : database_(database), interrupt_(std::make_shared<Interrupt>()) {
    interrupt_->database = database;
  }
  ~Sqlite() override {
    {
      const std::scoped_lock lock(interrupt_->mutex);
      interrupt_->database = nullptr;
    }
    cached_.clear();
    sqlite3_close_v2(database_);
  }

  sqlite3* raw() { return database_; }

  Dialect dialect() const override { return Dialect::sqlite; }

  Result<void> execute(std::string_view statement, std::span<const Value> parameters) override {
    GF_TRYV(run(statement, parameters, nullptr));
    return success();
  }

  Result<Rows> query(std::string_view statement, std::span<const Value> parameters) override {
    Rows rows;
    GF_TRYV(run(statement, parameters, &rows));
    return rows;
  }

  Result<Rows> script(std::string_view statements) override {
    Rows last;
    while (true) {
      sqlite3_stmt* raw_statement = nullptr;
      const char* tail = nullptr;
      GF_TRYV(prepare(statements, &raw_statement, &tail));
      const StatementPtr statement(raw_statement);
      const auto used = static_cast<std::size_t>(tail - statements.data());
      if (!statement) {
        if (used == 0 || used >= statements.size()) return last;
      } else {
        Rows rows;
        GF_TRYV(step_all(statement.get(), &rows));
        if (!rows.columns.empty()) last = std::move(rows);
      }
      statements.remove_prefix(used);
      if (statements.empty()) return last;
    }
  }

  bool in_transaction() const override { return sqlite3_get_autocommit(database_) == 0; }

  Result<void> set_timeouts(std::int64_t lock_us, std::int64_t statement_us) override {
    sqlite3_busy_timeout(database_, milliseconds(lock_us == 0 ? std::numeric_limits<std::int64_t>::max() : lock_us));
    statement_us_ = statement_us;
    return success();
  }

  std::shared_ptr<Canceller> canceller() override { return interrupt_; }
  Result<std::int64_t> backend_id() override { return std::int64_t{0}; }
  bool usable() const override { return true; }

  Result<void> prepare(std::string_view text, sqlite3_stmt** out, const char** tail, bool persistent = false) {
    if (text.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
      return set_failure(Status::payload_too_large, "SQLITE_TOOBIG", "the statement is longer than 2 GiB", {});
    }
    const int code = sqlite3_prepare_v3(database_, text.data(), static_cast<int>(text.size()),
                                        persistent ? SQLITE_PREPARE_PERSISTENT : 0, out, tail);
    return code == SQLITE_OK ? success() : fail(code);
  }

  Result<void> fail(int code) {
    const std::string message = sqlite3_errmsg(database_);
    const int extended = sqlite3_extended_errcode(database_);
    const int offset = sqlite3_error_offset(database_);
    std::optional<std::size_t> place;
    if (offset >= 0) place = static_cast<std::size_t>(offset);
    const int known = (extended & 0xFF) == (code & 0xFF) ? extended : code;
    Status status = status_of_sqlite(known, message);
    std::string words = message;
    if ((code & 0xFF) == SQLITE_INTERRUPT && timed_out_) {
      status = Status::timed_out;
      words = fmt::format("the statement ran longer than its timeout of {} ms", statement_us_ / 1000);
    }
    return set_failure(status, fmt::format("{} ({})", name_of_code(known), known), words, place);
  }

  Result<void> set_failure(Status status, std::string code, std::string message, std::optional<std::size_t> offset) {
    failure_ = Failure{status, std::move(code), std::move(message), "", "", offset};
    return Error{status, failure_.message, {}};
  }

  std::function<void(std::string_view)> schema_sink;
  bool watched = false;

 private:
  static int milliseconds(std::int64_t us) {
    return static_cast<int>(std::min<std::int64_t>((us + 999) / 1000, std::numeric_limits<int>::max()));
  }

  Result<void> run(std::string_view text, std::span<const Value> parameters, Rows* rows) {
    // What has parameters is ours and comes again; what has none is a migration's and does not.
    if (parameters.empty()) {
      sqlite3_stmt* raw_statement = nullptr;
      const char* tail = nullptr;
      GF_TRYV(prepare(text, &raw_statement, &tail));
      const StatementPtr statement(raw_statement);
      if (!statement) return success();
      if (const std::string_view rest(tail, static_cast<std::size_t>(text.data() + text.size() - tail));
          Lexer(rest, Dialect::sqlite).next().kind != TokenKind::end) {
        return set_failure(Status::internal, "SQLITE_MISUSE", "more than one statement was passed at once", {});
      }
      return step_all(statement.get(), rows);
    }
    GF_TRY(const Cached* const known, cached(text));
    sqlite3_stmt* const statement = known->statement.get();
    struct Reset {
      sqlite3_stmt* statement;
      ~Reset() {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
      }
    } const reset{statement};
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const int index = i < known->places.size() ? known->places[i] : 0;
      if (index == 0) continue;
      int code = SQLITE_OK;
      if (const auto* integer = std::get_if<std::int64_t>(&parameters[i])) {
        code = sqlite3_bind_int64(statement, index, *integer);
      } else if (const auto* real = std::get_if<double>(&parameters[i])) {
        code = sqlite3_bind_double(statement, index, *real);
      } else if (const auto* words = std::get_if<std::string>(&parameters[i])) {
        code = sqlite3_bind_text64(statement, index, words->data(), words->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
      } else if (const auto* raw_bytes = std::get_if<Bytes>(&parameters[i])) {
        // A null pointer would be NULL.
        const auto bytes = raw_bytes->bytes.data() == nullptr ? std::string_view("") : raw_bytes->bytes;
        code = sqlite3_bind_blob64(statement, index, bytes.data(), bytes.size(), SQLITE_STATIC);
      }
      if (code != SQLITE_OK) return fail(code);
    }
    return step_all(statement, rows);
  }

  struct Cached {
    StatementPtr statement;
    std::vector<int>
        places;  // SQLite's number of $1, $2, ..., which it counts by their first appearance; 0: not there.
  };

  Result<const Cached*> cached(std::string_view text) {
    if (const auto found = cached_.find(text); found != cached_.end()) return &found->second;
    sqlite3_stmt* statement = nullptr;
    const char* tail = nullptr;
    GF_TRYV(prepare(text, &statement, &tail, true));
    Cached made{StatementPtr(statement), {}};
    const int count = sqlite3_bind_parameter_count(statement);
    for (int i = 1; i <= count; ++i) {
      const int index = sqlite3_bind_parameter_index(statement, fmt::format("${}", i).c_str());
      made.places.push_back(index);
    }
    // Our own statements are a few dozen texts; the bound is for a caller that makes them up.
    if (cached_.size() >= 64) cached_.clear();
    return &cached_.emplace(std::string(text), std::move(made)).first->second;
  }

  Result<void> step_all(sqlite3_stmt* statement, Rows* rows) {
    timed_out_ = false;
    if (statement_us_ > 0) {
      deadline_us_ = system_clock().now_us() + statement_us_;
      sqlite3_progress_handler(
          database_, 1000,
          [](void* self) {
            auto& sqlite = *static_cast<Sqlite*>(self);
            sqlite.timed_out_ = system_clock().now_us() > sqlite.deadline_us_;
            return sqlite.timed_out_ ? 1 : 0;
          },
          this);
    }
    struct Off {
      sqlite3* database;
      bool on;
      ~Off() {
        if (on) sqlite3_progress_handler(database, 0, nullptr, nullptr);
      }
    } const off{database_, statement_us_ > 0};
    const int columns = sqlite3_column_count(statement);
    if (rows != nullptr) {
      for (int i = 0; i < columns; ++i) rows->columns.emplace_back(sqlite3_column_name(statement, i));
    }
    for (;;) {
      const int code = sqlite3_step(statement);
      if (code == SQLITE_DONE) return success();
      if (code != SQLITE_ROW) {
        auto failed = fail(code);
        sqlite3_reset(statement);
        return failed;
      }
      if (rows == nullptr) continue;
      auto& row = rows->rows.emplace_back();
      row.reserve(static_cast<std::size_t>(columns));
      for (int i = 0; i < columns; ++i) {
        switch (sqlite3_column_type(statement, i)) {
          case SQLITE_INTEGER:
            row.emplace_back(std::int64_t{sqlite3_column_int64(statement, i)});
            break;
          case SQLITE_FLOAT:
            row.emplace_back(sqlite3_column_double(statement, i));
            break;
          case SQLITE_NULL:
            row.emplace_back(std::monostate{});
            break;
          default: {
            const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, i));
            row.emplace_back(std::string(bytes != nullptr ? bytes : "",
                                         static_cast<std::size_t>(sqlite3_column_bytes(statement, i))));
          }
        }
      }
    }
  }

  sqlite3* database_;
  std::shared_ptr<Interrupt> interrupt_;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, Cached, Hash, std::equal_to<>> cached_;
  std::int64_t statement_us_ = 0;
  std::int64_t deadline_us_ = 0;
  bool timed_out_ = false;
};

int authorize(void* context, int action, const char* first, const char* second, const char*, const char*) {
  auto& sqlite = *static_cast<Sqlite*>(context);
  const char* name = nullptr;
  switch (action) {
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE:
      name = first;
      break;
    case SQLITE_ALTER_TABLE:
      name = second;
      break;
    default:
      return SQLITE_OK;
  }
  if (name != nullptr && sqlite.schema_sink) sqlite.schema_sink(name);
  return SQLITE_OK;
}

}  // namespace

Status status_of_sqlite(int extended_code, std::string_view message) {
  switch (extended_code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Status::locked;
    case SQLITE_FULL:
      return Status::disk_full;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Status::unauthorised;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Status::corrupt_file;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
      return Status::io_error;
    case SQLITE_INTERRUPT:
      return Status::cancelled;
    case SQLITE_NOMEM:
      return Status::out_of_host_memory;
    case SQLITE_TOOBIG:
      return Status::payload_too_large;
    case SQLITE_ERROR:
      if (message.find("syntax error") != std::string_view::npos ||
          message.find("unrecognized token") != std::string_view::npos || message == "incomplete input") {
        return Status::syntax_error;
      }
      return Status::database_error;
    default:
      return Status::database_error;
  }
}

Result<std::unique_ptr<Connection>> open_sqlite(const std::string& path, const OpenOptions& options) {
  sqlite3* database = nullptr;
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  if (options.create && !options.read_only) flags |= SQLITE_OPEN_CREATE;
  struct stat status {};
  const bool memory = path == ":memory:";
  if (!memory && !path.empty() && ::stat(path.c_str(), &status) != 0 && (flags & SQLITE_OPEN_CREATE) == 0) {
    return Error{Status::not_found, fmt::format("the database {} does not exist", shown(path)), {}};
  }
  // SQLite would open it for reading, and then not get the lock of a writer, which it calls an I/O error.
  if (options.exclusive && !options.read_only && ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) != 0 &&
      (errno == EACCES || errno == EROFS)) {
    return Error{Status::unauthorised, fmt::format("the database {} may not be written", shown(path)), {}};
  }
  // A path that begins with a colon or "file:" has a meaning of its own for SQLite.
  const std::string name = memory || path.empty() || path.starts_with('/') ? path : "./" + path;
  const int code = sqlite3_open_v2(name.c_str(), &database, flags, nullptr);
  struct Close {
    void operator()(sqlite3* of) const { sqlite3_close_v2(of); }
  };
  std::unique_ptr<sqlite3, Close> owned(database);  // Until there is memory for the connection.
  auto connection = std::make_unique<Sqlite>(database);
  (void)owned.release();
  if (code != SQLITE_OK) {
    const std::string words = database != nullptr ? sqlite3_errmsg(database) : "out of memory";
    return Error{
        status_of_sqlite(code, words), fmt::format("the database {} cannot be opened: {}", shown(path), words), {}};
  }
  sqlite3_busy_timeout(database, static_cast<int>(std::min<std::int64_t>(options.busy_timeout_us / 1000, 1 << 30)));
  if (!options.checkpoint_on_close) set_sqlite_checkpoint_on_close(*connection, false);
  // Before the first look at the file: what is in WAL mode would get its shared memory with that.
  if (options.exclusive) {
    GF_TRYV(connection->execute("PRAGMA locking_mode = EXCLUSIVE", {}));
  }
  // The file is looked at only now: a file that is no database, or unreadable, shows here.
  if (auto probe = connection->execute("SELECT 1 FROM sqlite_schema LIMIT 1", {}); !probe) {
    if (probe.error().status != Status::locked) {
      return Error{probe.error().status, fmt::format("the database {}: {}", shown(path), probe.error().message), {}};
    }
  }
  return std::unique_ptr<Connection>(std::move(connection));
}

Result<void> copy_sqlite(Connection& from, Connection& into) {
  auto* source = dynamic_cast<Sqlite*>(&from);
  auto* target = dynamic_cast<Sqlite*>(&into);
  if (source == nullptr || target == nullptr)
    return Error{Status::invalid_argument, "copy_sqlite takes two SQLite databases", {}};
  sqlite3_backup* backup = sqlite3_backup_init(target->raw(), "main", source->raw(), "main");
  if (backup == nullptr) return target->fail(sqlite3_errcode(target->raw()));
  int code = SQLITE_OK;
  do {
    code = sqlite3_backup_step(backup, 4096);
  } while (code == SQLITE_OK);
  const int finished = sqlite3_backup_finish(backup);
  if (code == SQLITE_DONE && finished == SQLITE_OK) return success();
  const int reason = code == SQLITE_DONE ? finished : code;
  return target->set_failure(status_of_sqlite(reason, ""), name_of_code(reason),
                             fmt::format("the copy of the database stopped: {}", sqlite3_errstr(reason)), {});
}

Result<Prepared> prepare_sqlite(Connection& connection, std::string_view statement) {
  auto* sqlite = dynamic_cast<Sqlite*>(&connection);
  if (sqlite == nullptr) return Error{Status::invalid_argument, "prepare_sqlite takes a SQLite database", {}};
  sqlite3_stmt* raw_statement = nullptr;
  const char* tail = nullptr;
  GF_TRYV(sqlite->prepare(statement, &raw_statement, &tail));
  const StatementPtr owned(raw_statement);
  return Prepared{raw_statement == nullptr || sqlite3_stmt_readonly(raw_statement) != 0,
                  static_cast<std::size_t>(tail - statement.data()),
                  raw_statement == nullptr ? 0 : sqlite3_column_count(raw_statement)};
}

void watch_sqlite_schema(Connection& connection, std::function<void(std::string_view)> sink) {
  auto* sqlite = dynamic_cast<Sqlite*>(&connection);
  if (sqlite == nullptr) return;
  sqlite->schema_sink = std::move(sink);
  // Setting an authorizer makes every compiled statement stale, so it is set once and stays; the sink comes and goes.
  if (!std::exchange(sqlite->watched, true)) sqlite3_set_authorizer(sqlite->raw(), authorize, sqlite);
}

void set_sqlite_checkpoint_on_close(Connection& connection, bool on) {
  auto* sqlite = dynamic_cast<Sqlite*>(&connection);
  if (sqlite != nullptr) sqlite3_db_config(sqlite->raw(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on ? 0 : 1, nullptr);
}

std::int64_t sqlite_lock_owner(const std::string& path) {
  // PENDING_BYTE and what follows it in the file (os_unix.c), or the locks of the -shm file in WAL mode.
  std::int64_t owner = 0;
  for (const std::string& name : {path, path + "-shm"}) {
    struct stat status {};
    if (::stat(name.c_str(), &status) != 0) continue;
    const std::string wanted =
        fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
    std::FILE* locks = std::fopen("/proc/locks", "re");
    if (locks == nullptr) return 0;
    char line[256];
    while (std::fgets(line, sizeof line, locks) != nullptr) {
      char mode[32] = "";
      char pid[32] = "";
      char inode[64] = "";
      // "1: POSIX  ADVISORY  WRITE 1234 fe:00:123456 1073741825 1073741825"
      if (std::sscanf(line, "%*s %*s %*s %31s %31s %63s", mode, pid, inode) == 3 && wanted == inode &&
          std::string_view(mode) == "WRITE") {
        owner = std::strtoll(pid, nullptr, 10);
        break;
      }
    }
    (void)std::fclose(locks);
    if (owner != 0) break;
  }
  return owner;
}

}  // namespace gf::sql
