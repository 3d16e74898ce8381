// A database of our own for proofs: SQLite in memory or in a temporary file, PostgreSQL a database that is dropped
// again.
#pragma once

#include "base/result.hpp"
#include "migrate/migrate.hpp"
#include "sql/sql.hpp"

#include <memory>
#include <string>

namespace gf::migrate {

class Scratch {
 public:
  /// Empty, of the dialect of `url` (SQLite where that is empty).
  /// Errors: unauthorised, when the user may not make databases; those of open.
  static Result<Scratch> empty(const std::string& url);
  /// SQLite: a copy of all. PostgreSQL: the live schema, compared object by object, without rows; the records with
  /// them. Errors: schema_drift names what could not be made equal.
  static Result<Scratch> copy_of(const std::string& url, sql::Connection& live);

  Scratch(Scratch&& other) noexcept = default;
  Scratch& operator=(Scratch&&) = delete;
  ~Scratch();

  sql::Connection& connection() { return *connection_; }

 private:
  Scratch() = default;
  std::string url_;
  std::string database_;  // PostgreSQL: to be dropped.
  std::unique_ptr<sql::Connection> connection_;
};

}  // namespace gf::migrate
