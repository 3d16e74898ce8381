// sql: one small interface over SQLite and libpq, and the texts they take; what is stored is none of its business.
// This header: a connection that is opened by URL, executes one statement at a time and says exactly what went wrong.
#pragma once

#include "sql/dialect.hpp"

#include "base/result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace gf::sql {

/// Bytes that go into SQLite as a BLOB, borrowed until the call returns: nothing is copied. They come out as text.
struct Bytes {
  std::string_view bytes;
};

/// A value that goes in or comes out: NULL, integer, float, text. Bytes only go in, and only into SQLite.
using Value = std::variant<std::monostate, std::int64_t, double, std::string, Bytes>;

/// What was read: rows of values. PostgreSQL's come as text but for integers, floats and booleans (0 and 1).
struct Rows {
  std::vector<std::string> columns;
  std::vector<std::vector<Value>> rows;

  bool empty() const { return rows.empty(); }
  /// "" and 0 where the value is NULL, of another kind, or not there.
  const std::string& text(std::size_t row, std::size_t column) const;
  std::int64_t integer(std::size_t row, std::size_t column) const;
  bool is_null(std::size_t row, std::size_t column) const;
};

/// All that the database said about the last statement that failed.
struct Failure {
  Status status = Status::database_error;
  std::string code;     ///< SQLSTATE ("42601"), or SQLite's code and its extended number ("SQLITE_BUSY (5)").
  std::string message;  ///< The database's own sentence.
  std::string detail;
  std::string hint;
  /// Byte in the statement where the database saw it, if it told.
  std::optional<std::size_t> offset;
};

/// Where and how to connect.
struct OpenOptions {
  bool create = true;      ///< SQLite: make the file if there is none.
  bool read_only = false;  ///< SQLite: open for reading alone. PostgreSQL: transactions are read only.
  std::int64_t connect_timeout_us = 10'000'000;
  std::int64_t busy_timeout_us = 0;  ///< SQLite: how long a statement waits for another's lock.
  /// SQLite: from the first statement to the close no other connection reads or writes the file, and a file in WAL mode
  /// has no shared memory beside it, which somebody could cut under us.
  bool exclusive = false;
  /// SQLite: the last to close writes a WAL back into the file. Off: a connection that only read leaves both as they
  /// are.
  bool checkpoint_on_close = true;
  std::string application_name = "gameforge";  ///< PostgreSQL: shown in pg_stat_activity.
  std::string database;                        ///< PostgreSQL: instead of the URL's; empty: the URL's.
};

/// Stops what a connection does now. Threads: any; it may outlive the connection, and then does nothing.
class Canceller {
 public:
  virtual ~Canceller() = default;
  virtual void cancel() noexcept = 0;
};

/// One connection. Threads: not synchronised; its owner guards it. Only its canceller may be used beside.
class Connection {
 public:
  virtual ~Connection() = default;

  virtual Dialect dialect() const = 0;
  /// Executes exactly one statement and drops its rows. Parameters are $1, $2, ... in both databases.
  /// Errors: what status_of says; failure() has the rest.
  virtual Result<void> execute(std::string_view statement, std::span<const Value> parameters = {}) = 0;
  /// The same, and keeps the rows.
  virtual Result<Rows> query(std::string_view statement, std::span<const Value> parameters = {}) = 0;
  /// Several statements of ours, separated by semicolons, without parameters; gives the rows of the last that had any.
  virtual Result<Rows> script(std::string_view statements) = 0;
  /// Whether a transaction is open (also one that failed and waits for its end).
  virtual bool in_transaction() const = 0;
  /// Milliseconds are the finest unit of both; 0 waits without end. SQLite: `statement` is checked between steps of its
  /// engine, and `lock` is its busy timeout.
  virtual Result<void> set_timeouts(std::int64_t lock_us, std::int64_t statement_us) = 0;
  virtual std::shared_ptr<Canceller> canceller() = 0;
  /// Of the last call that failed.
  const Failure& failure() const { return failure_; }
  /// Notices and warnings of the server since the last call of this, oldest first.
  std::vector<std::string> take_notices() { return std::exchange(notices_, {}); }
  /// Changes when the server's process behind the connection does (a pooler in transaction mode); 0 for SQLite.
  virtual Result<std::int64_t> backend_id() = 0;
  /// PostgreSQL: statements with parameters are prepared on their first use. Not behind a pooler in transaction mode.
  virtual void allow_prepared(bool) {}
  /// False once the connection is broken: the server is gone.
  virtual bool usable() const = 0;

 protected:
  Failure failure_;
  std::vector<std::string> notices_;
};

/// A URL taken apart: sqlite:PATH, sqlite::memory:, postgresql://..., postgres://...
struct Url {
  Dialect dialect = Dialect::sqlite;
  std::string target;  ///< SQLite's path; libpq's own URL.
};

/// Errors: invalid_argument; the message has no password.
Result<Url> parse_url(std::string_view url);
/// The URL as it may be shown: what could be a password is replaced by ***.
std::string redacted(std::string_view url);

/// Errors: invalid_argument (URL), not_found, unauthorised, network_error, database_error, io_error, corrupt_file,
/// unsupported (PostgreSQL, and libpq is not there).
Result<std::unique_ptr<Connection>> open(std::string_view url, const OpenOptions& options = {});
Result<std::unique_ptr<Connection>> open_sqlite(const std::string& path, const OpenOptions& options = {});
Result<std::unique_ptr<Connection>> open_postgres(const std::string& url, const OpenOptions& options = {});
/// Copies a whole SQLite database as it stands into another connection's, by SQLite's backup.
Result<void> copy_sqlite(Connection& from, Connection& into);

/// What SQLite's compiler says of one statement.
struct Prepared {
  bool read_only = false;
  std::size_t used_bytes = 0;  ///< How much of the text the statement took; the rest was not looked at.
  int columns = 0;
};
/// Compiles a statement against the connection's schema without running it. Only for SQLite.
Result<Prepared> prepare_sqlite(Connection& connection, std::string_view statement);

/// Names that a migration touched, as SQLite's authorizer sees them while statements are compiled: call with a sink to
/// begin, with nullptr to end. Only for SQLite.
void watch_sqlite_schema(Connection& connection, std::function<void(std::string_view name)> sink);

/// Changes OpenOptions::checkpoint_on_close. Only for SQLite.
void set_sqlite_checkpoint_on_close(Connection& connection, bool on);

/// The process that holds a lock on a SQLite file, from /proc/locks; 0 when none is seen.
std::int64_t sqlite_lock_owner(const std::string& path);

/// A transaction that is rolled back unless it is committed.
class Transaction {
 public:
  static Result<Transaction> begin(Connection& connection, std::string_view how = "BEGIN");
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  /// Errors: those of execute; the transaction is then rolled back.
  Result<void> commit();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

/// "'it''s'" and "\"na\"\"me\"", for statements that take no parameters.
std::string quoted_text(std::string_view text);
std::string quoted_name(std::string_view name);

/// The status that belongs to a SQLSTATE, or to SQLite's extended result code.
Status status_of_sqlstate(std::string_view sqlstate);
Status status_of_sqlite(int extended_code, std::string_view message);

}  // namespace gf::sql
