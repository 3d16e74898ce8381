// Cuts a text into its statements, exactly where the database's own grammar would.
#pragma once

#include "sql/dialect.hpp"
#include "sql/lexer.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gf::sql {

/// A place in a text: line and column from 1, columns in code points; a byte order mark at the start takes none.
struct Place {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

/// One statement, from its first token to its last, without the closing semicolon and without comments at either end.
struct Statement {
  std::string_view text;   ///< Part of the text that was split.
  std::size_t offset = 0;  ///< Of its first byte in that text.
  Place place;
};

/// Why a text cannot be split.
struct SplitError {
  std::string_view kind;  ///< "unterminated-string", ...; static.
  std::size_t offset = 0;
  Place place;
  std::string message;
};

struct Split {
  std::vector<Statement> statements;  ///< With an error: those before it.
  std::optional<SplitError> error;
};

/// SQLite: triggers end as sqlite3_complete has it, at "; END". PostgreSQL: at semicolons outside parentheses, as its
/// scanner sees them; where a function has a BEGIN ATOMIC body, in which keywords may be names, libpg_query's parser
/// has the last word if it accepts the text, and else psql's rule (psqlscan.l), so that a syntax error has a statement
/// to belong to. psql's meta-commands and COPY ... FROM STDIN are refused. `text` is borrowed by the result.
Split split(std::string_view text, Dialect dialect);

/// Walks a text forwards and gives the places of rising offsets, so that many cost one pass.
class PlaceFinder {
 public:
  explicit PlaceFinder(std::string_view text);
  Place at(std::size_t offset);

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  Place place_;
};

/// The words of the statement in order, as lower case, at most `limit`; quoted identifiers keep their quotes, other
/// tokens stand as they are. For recognising statements, never for cutting them.
std::vector<std::string> leading_tokens(std::string_view statement, Dialect dialect, std::size_t limit);

}  // namespace gf::sql
