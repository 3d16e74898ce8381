#include "migrate/sums.hpp"

#include "base/files.hpp"
#include "base/sha256.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace gf::migrate {
namespace {

constexpr std::string_view all = "all";
constexpr std::uint64_t limit_bytes = std::uint64_t{64} << 20;
constexpr std::string_view advice =
    "look at it, then let it count with `validate --write-sums`, or with an empty file of sums and `validate`";

struct Line {
  std::string sum;
  std::string file;
  std::uint32_t number = 0;
};

struct Sums {
  Line total;
  std::vector<Line> lines;
};

Error damaged(std::uint32_t line, std::string_view words) {
  return {Status::checksum_mismatch, fmt::format("{}:{}:1: {}", sums_file, line, words), {}};
}

std::string line_of(std::string_view sum, std::string_view file) { return fmt::format("{} {}\n", sum, file); }

/// Of lines in the order of their versions. The first line changes with any other: that is what makes two branches
/// conflict, also where their migrations' lines stand apart.
std::string text_of(const std::vector<Line>& lines) {
  std::string body;
  for (const auto& line : lines) body += line_of(line.sum, line.file);
  return line_of("v1:" + sha256_hex(body), all) + body;
}

Result<Sums> parse(std::string_view text) {
  Sums out;
  std::uint32_t number = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    // Git writes CRLF where it is told to.
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const auto space = line.find(' ');
    const bool is_sum = space == 67 && line.starts_with("v1:") &&
                        line.substr(3, 64).find_first_not_of("0123456789abcdef") == std::string_view::npos;
    if (!is_sum || space + 1 == line.size()) {
      return damaged(number, fmt::format("{} is no line of sums, such as v1:HEX 001_users.sql; {}",
                                         shown(line.substr(0, 80)), advice));
    }
    Line parsed{std::string(line.substr(0, space)), std::string(line.substr(space + 1)), number};
    if (number == 1 && parsed.file == all) {
      out.total = std::move(parsed);
    } else {
      out.lines.push_back(std::move(parsed));
    }
  }
  if (out.total.number == 0) return damaged(1, fmt::format("the first line is not that of all sums; {}", advice));
  return out;
}

Result<std::string> read_sums(const std::string& folder) {
  const std::string path = join_path(folder, sums_file);
  if (!is_regular_file(path)) return std::string();
  return read_text(path, limit_bytes);
}

}  // namespace

std::string sums_of(const std::vector<Migration>& migrations) {
  std::vector<Line> lines;
  lines.reserve(migrations.size());
  for (const auto& migration : migrations) lines.push_back({migration.checksum, migration.file, 0});
  return text_of(lines);
}

Result<std::vector<Error>> check_sums(const std::string& folder, const std::vector<Migration>& migrations) {
  std::vector<Error> out;
  const std::string path = join_path(folder, sums_file);
  if (!is_regular_file(path)) return out;
  GF_TRY(const auto text, read_text(path, limit_bytes));
  if (text.find_first_not_of("\r\n") == std::string::npos) {
    GF_TRYV(write_whole(path, sums_of(migrations)));
    return out;
  }
  const auto parsed = parse(text);
  if (!parsed) {
    out.push_back(parsed.error());
    return out;
  }
  const auto& sums = parsed.value();
  std::map<std::string_view, const Line*> known;
  for (const auto& line : sums.lines) {
    if (!known.emplace(line.file, &line).second) {
      out.push_back(damaged(line.number, fmt::format("{} has a line already; {}", shown(line.file), advice)));
    }
  }
  for (const auto& migration : migrations) {
    const auto found = known.find(migration.file);
    if (found == known.end()) {
      out.push_back({Status::checksum_mismatch,
                     fmt::format("{}:1:1: it has no line in {}: it was put in without one; {}", migration.file,
                                 sums_file, advice),
                     {}});
      continue;
    }
    if (found->second->sum != migration.checksum) {
      out.push_back(
          {Status::checksum_mismatch,
           fmt::format("{}:1:1: it was edited since its line in {} was written; {}", migration.file, sums_file, advice),
           {}});
    }
    known.erase(found);
  }
  for (const auto& line : sums.lines) {
    if (known.contains(line.file)) {
      out.push_back(damaged(line.number, fmt::format("{} has a line, and is not there; {}", shown(line.file), advice)));
      known.erase(line.file);
    }
  }
  if (out.empty() && !text_of(sums.lines).starts_with(line_of(sums.total.sum, all))) {
    out.push_back(damaged(1, fmt::format("the lines are not those that the first one sums up: two branches were "
                                         "merged, or it was edited by hand; {}",
                                         advice)));
  }
  return out;
}

Result<std::string> sums_with(const std::string& folder, const Migration& added) {
  GF_TRY(const auto text, read_sums(folder));
  if (text.find_first_not_of("\r\n") == std::string::npos) return std::string();
  GF_TRY(auto sums, parse(text));
  // Behind the versioned ones and before the repeatable ones.
  const auto place =
      std::find_if(sums.lines.begin(), sums.lines.end(), [](const Line& line) { return line.file.starts_with("R_"); });
  sums.lines.insert(place, {added.checksum, added.file, 0});
  return text_of(sums.lines);
}

}  // namespace gf::migrate
