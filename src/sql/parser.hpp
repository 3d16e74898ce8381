// PostgreSQL's own grammar (libpg_query): whether a text is a sequence of statements, and where each lies.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gf::sql {

struct ParsedPostgres {
  /// Offset and length of each statement, with the blanks and comments before it; nullopt with a syntax error.
  std::optional<std::vector<std::pair<std::size_t, std::size_t>>> spans;
  std::string message;           ///< The grammar's words, such as: syntax error at or near "frm".
  std::size_t error_offset = 0;  ///< Bytes from the start of the text.
};

/// `text` is UTF-8 without NUL bytes; what follows a NUL would not be seen, so it is an error here.
ParsedPostgres parse_postgres(std::string_view text);

}  // namespace gf::sql
