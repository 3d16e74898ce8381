// What the tests of migrations share: folders of files, processes that are killed, and a PostgreSQL server of their
// own.
#pragma once

#include "../../support/files.hpp"
#include "migrate/migrate.hpp"
#include "sql/sql.hpp"

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace gf::test {

/// A folder of migrations, or of what they make.
class TempFolder : public TemporaryFolder {
 public:
  void write(const std::string& name, const std::string& text) const { write_file(file(name), text); }
  void remove(const std::string& name) const { std::filesystem::remove(file(name)); }
};

/// A child process; killed and reaped with its owner.
class Process {
 public:
  /// `output`: a file that takes its standard output and error.
  Process(std::vector<std::string> arguments, const std::string& output, uid_t user = 0, gid_t group = 0);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  pid_t pid() const { return pid_; }
  void signal(int number) const;
  /// Waits at most so long; true when it has ended.
  bool wait(std::int64_t timeout_us);
  /// Exit status; 128 + signal when it was killed; -1 while it runs.
  int status() const { return status_; }

 private:
  pid_t pid_ = -1;
  int status_ = -1;
};

/// PostgreSQL 15 on a socket in a folder of its own, run by the user postgres where we are root. Started on first use,
/// stopped when the program ends. Empty URL: there is no server on this machine.
class PostgresServer {
 public:
  /// `durable` counts on the first call: fsync on, for benchmarks.
  static PostgresServer& instance(bool durable = false);
  /// A fresh database's URL.
  std::string make_database();
  std::string url_of(const std::string& database, const std::string& user = "postgres") const;
  bool available() const { return process_ != nullptr; }
  const std::string& why_not() const { return why_not_; }

 private:
  explicit PostgresServer(bool durable);
  ~PostgresServer();
  std::unique_ptr<TempFolder> folder_;
  std::unique_ptr<Process> process_;
  std::string why_not_;
  int made_ = 0;
};

/// One database of either kind, with a folder of migrations.
class Place {
 public:
  explicit Place(sql::Dialect dialect);
  sql::Dialect dialect;
  std::string url;
  TempFolder folder;  ///< Of the migrations.
  TempFolder other;   ///< SQLite's file, and outputs.

  bool sqlite() const { return dialect == sql::Dialect::sqlite; }
  migrate::Settings settings() const;
  migrate::Migrator open() const { return open(settings()); }
  static migrate::Migrator open(migrate::Settings settings);
  Result<void> apply(const migrate::Goal& goal = {}) const;
  Result<void> apply(migrate::Settings settings, const migrate::Goal& goal, migrate::Report& report) const;
  std::unique_ptr<sql::Connection> connect() const;
  std::string sum() const;  ///< Of the schema.
  /// Labels of what is applied, in the order in which it was.
  std::vector<std::string> applied() const;
  std::unique_ptr<Process> start(std::vector<std::string> arguments, const std::string& output = "out") const;
};

}  // namespace gf::test
