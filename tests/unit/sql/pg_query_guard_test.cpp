#include "sql/parser.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

extern "C" {
// PostgreSQL's own, in the archive: ends the process, and reports an assertion.
void proc_exit(int code);
void ExceptionalCondition(const char* condition, const char* type, const char* file, int line);
}

TEST_CASE("where PostgreSQL's grammar would end the process it throws through its own frames, and parses again") {
  CHECK_THROWS_AS(proc_exit(1), std::runtime_error);
  CHECK_THROWS_AS(ExceptionalCondition("a", "b", "c", 1), std::runtime_error);
  CHECK(gf::sql::parse_postgres("select 1; select 2").spans.value().size() == 2);
}

TEST_CASE("PostgreSQL's grammar writes nothing to the standard streams") {
  const int file = memfd_create("streams", 0);
  REQUIRE(file >= 0);
  const int kept_out = dup(1);
  const int kept_err = dup(2);
  dup2(file, 1);
  dup2(file, 2);
  try {
    ExceptionalCondition("a", "b", "c", 1);  // Says so before it ends.
  } catch (const std::runtime_error&) {
    // As above.
  }
  const bool refused = !gf::sql::parse_postgres("select 'a\\' from \"\\\"; create nonsense").spans.has_value();
  dup2(kept_out, 1);
  dup2(kept_err, 2);
  close(kept_out);
  close(kept_err);
  CHECK(refused);
  CHECK(lseek(file, 0, SEEK_END) == 0);
  close(file);
}
