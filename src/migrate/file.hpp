// A migration as its file states it: header, sections, statements with their places, and what identifies the text.
#pragma once

#include "migrate/source.hpp"

#include "base/result.hpp"
#include "sql/dialect.hpp"
#include "sql/statements.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace gf::migrate {

/// A statement of a section, ready to be run.
struct FileStatement {
  std::string text;        ///< Variables filled in.
  std::size_t offset = 0;  ///< Of its first byte in the file.
  sql::Place place;        ///< Of its first byte in the file.
  /// Where variables were filled in: from this byte of `text` on, that byte of the file. Mostly empty.
  std::vector<std::pair<std::size_t, std::size_t>> shifts;
};

/// One section's statements, in the order of the file.
struct Section {
  std::string file;      ///< The file that they lie in (the pair form has two).
  std::string source;    ///< All of that file's text.
  bool present = false;  ///< Whether the file has such a section for the dialect at all.
  std::vector<FileStatement> statements;

  /// The place in the file of a byte of a statement's text.
  sql::Place place_in(const FileStatement& statement, std::size_t byte) const;
  /// "003_users.sql:12:8:"
  std::string prefix(sql::Place place) const;
};

/// Header keys. Times are microseconds, 0 where the file does not say.
struct FileHeader {
  bool declares_depends = false;
  std::vector<std::int64_t> depends;
  bool transaction = true;
  bool foreign_keys = true;
  bool irreversible = false;
  std::int64_t timeout_us = 0;
  std::int64_t lock_timeout_us = 0;
  std::optional<std::int64_t> compatible_back_to;
  /// Declared variables with their defaults.
  std::map<std::string, std::optional<std::string>> variables;
};

/// A migration: one file, or the two of the pair form. Its sections are cut only when they are asked for.
class Migration {
 public:
  std::int64_t version = 0;  ///< 0 when repeatable.
  std::string version_text;
  std::string name;
  bool repeatable = false;
  std::string file;       ///< Of the up part; messages begin with it.
  std::string down_file;  ///< Of the pair form, or empty.
  FileHeader header;
  std::string checksum;  ///< "v1:" and 64 hex digits; see checksum_of.

  /// "003_users", or "R_views".
  std::string label() const;

  /// Errors: syntax_error with FILE:LINE:COLUMN; invalid_argument for a variable without a value.
  Result<Section> up(sql::Dialect dialect, const std::map<std::string, std::string>& variables) const;
  Result<Section> down(sql::Dialect dialect, const std::map<std::string, std::string>& variables) const;
  /// Statements that must each give a true first value after `up`, in the same transaction; mostly empty.
  Result<Section> verify(sql::Dialect dialect, const std::map<std::string, std::string>& variables) const;
  /// "v1:" and 64 hex digits over header and tokens: comments, blanks and line ends do not count.
  std::string token_sum(sql::Dialect dialect) const;
  std::string text;       ///< Of the file, or of the pair's up part.
  std::string down_text;  ///< Of the pair's down part.

 private:
  Result<Section> section(std::string_view which, sql::Dialect dialect,
                          const std::map<std::string, std::string>& variables) const;
};

/// All migrations of a source, versioned ones by version, then repeatable ones by name. Files are checked one by one
/// and against each other; the first problem in the order of the names is the answer.
/// Errors: invalid_argument (name, duplicate, header), syntax_error (not UTF-8, NUL bytes), already_exists (a version
/// or a name twice), payload_too_large. Messages begin with FILE:LINE:COLUMN.
Result<std::vector<Migration>> parse_files(std::vector<SourceFile> files);

/// A down section from a record of the database, where the file is not there any more.
Result<Section> parse_recorded_down(std::string_view label, std::string_view text, sql::Dialect dialect);

/// The text that is summed: no byte order mark, LF line ends, no blanks at the ends of lines, one LF at the end.
std::string normalised(std::string_view text);
/// "v1:" + SHA-256 of the normalised text, and for the pair form a NUL byte and the other's normalised text. The
/// meaning of v1 never changes.
std::string checksum_of(std::string_view up_text, std::string_view down_text);

/// "3 s", "500ms", "2min", "0"; a bare number is seconds.
std::optional<std::int64_t> parse_duration_us(std::string_view text);

}  // namespace gf::migrate
