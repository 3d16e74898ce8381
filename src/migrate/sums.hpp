// The file of sums: which migrations a folder has and what their texts are, one line each, so that a file that was put
// in, taken out or edited is seen without a database, and two branches that both add one meet in a merge conflict.
#pragma once

#include "migrate/file.hpp"

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace gf::migrate {

/// Beside the migrations.
constexpr std::string_view sums_file = "gameforge.sum";

/// The text for these migrations: "v1:HEX all" over the lines that follow, then "v1:HEX 001_users.sql" for each.
std::string sums_of(const std::vector<Migration>& migrations);

/// What of the folder is not as its file of sums says, each with its place; nothing where the folder has no such file.
/// One that is empty is filled in.
/// Errors: those of read_text and write_whole.
Result<std::vector<Error>> check_sums(const std::string& folder, const std::vector<Migration>& migrations);

/// The file of sums with the line of one more migration, the other lines as they stand; nothing where the folder has no
/// such file, or an empty one.
/// Errors: checksum_mismatch (it is damaged), those of read_text.
Result<std::string> sums_with(const std::string& folder, const Migration& added);

}  // namespace gf::migrate
