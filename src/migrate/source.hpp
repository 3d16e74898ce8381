// Where migrations come from: a folder, or a set compiled into the program. Names are judged here, contents in
// file.hpp.
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf::migrate {

/// One file as it was found.
struct SourceFile {
  std::string name;  ///< "003_users.sql"; without a folder.
  std::string text;
};

/// One file of an embedded set; what the CMake function gameforge_embed_migrations writes. Lives as long as the
/// process.
struct EmbeddedFile {
  std::string_view name;
  std::string_view text;
};

/// What one file may have at most. Migrations are written by people; what is larger is a dump in the wrong place.
constexpr std::uint64_t max_file_bytes = std::uint64_t{32} << 20;

/// What a file's name says.
struct FileName {
  enum class Form : std::uint8_t { whole, up, down, repeatable };
  Form form = Form::whole;
  std::int64_t version = 0;  ///< Of a repeatable file 0.
  std::string version_text;  ///< As written, "003".
  std::string name;          ///< "users".
};

/// NNN_name.sql, NNN_name.up.sql, NNN_name.down.sql, R_name.sql.
/// Errors: invalid_argument names the file and the form.
Result<FileName> parse_file_name(std::string_view file_name);

/// The .sql files of a folder, in the order of their names; others, hidden ones and folders are left out.
/// Errors: not_found, io_error, unauthorised; payload_too_large; each names the file.
Result<std::vector<SourceFile>> read_folder(const std::string& folder);

}  // namespace gf::migrate
