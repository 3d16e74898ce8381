#include "sql/sql.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gf::sql {

const std::string& Rows::text(std::size_t row, std::size_t column) const {
  static const std::string empty_text;
  if (row >= rows.size() || column >= rows[row].size()) return empty_text;
  const auto* value = std::get_if<std::string>(&rows[row][column]);
  return value != nullptr ? *value : empty_text;
}

std::int64_t Rows::integer(std::size_t row, std::size_t column) const {
  if (row >= rows.size() || column >= rows[row].size()) return 0;
  const auto* value = std::get_if<std::int64_t>(&rows[row][column]);
  return value != nullptr ? *value : 0;
}

bool Rows::is_null(std::size_t row, std::size_t column) const {
  return row >= rows.size() || column >= rows[row].size() || std::holds_alternative<std::monostate>(rows[row][column]);
}

Result<Url> parse_url(std::string_view url) {
  if (url.find('\0') != std::string_view::npos) {
    return Error{Status::invalid_argument, "the database's URL has a NUL byte in it", {}};
  }
  if (url.starts_with("sqlite:")) {
    std::string_view path = url.substr(7);
    // sqlite:///absolute and sqlite://relative are what other tools write.
    if (path.starts_with("//")) path.remove_prefix(2);
    if (path.empty()) {
      return Error{Status::invalid_argument, "the database's URL names no file; it is sqlite:PATH", {}};
    }
    return Url{Dialect::sqlite, std::string(path)};
  }
  if (url.starts_with("postgresql://") || url.starts_with("postgres://")) {
    return Url{Dialect::postgresql, std::string(url)};
  }
  const auto scheme = url.substr(0, std::min(url.find(':'), url.size()));
  return Error{Status::invalid_argument,
               fmt::format("the database's URL begins with {}; it is sqlite:PATH or postgresql://USER@HOST/DATABASE",
                           shown(scheme.substr(0, 20))),
               {}};
}

std::string redacted(std::string_view url) {
  std::string out(url);
  const auto scheme = out.find("://");
  if (scheme != std::string::npos) {
    // The authority ends at a slash or question mark; a password may hold an @ by mistake, so the last one counts.
    const auto begin = scheme + 3;
    auto end = out.find_first_of("/?", begin);
    if (end == std::string::npos) end = out.size();
    auto at = out.rfind('@', end == out.size() ? std::string::npos : end);
    // A password with an unescaped slash or question mark puts the @ behind what looks like the authority.
    if ((at == std::string::npos || at < begin) && out.find('@', end) != std::string::npos) at = out.rfind('@');
    if (at != std::string::npos && at >= begin) {
      const auto colon = out.find(':', begin);
      if (colon != std::string::npos && colon < at) out.replace(colon + 1, at - colon - 1, "***");
    }
  }
  for (const std::string_view key : {"password=", "sslpassword="}) {
    std::size_t from = 0;
    while ((from = out.find(key, from)) != std::string::npos) {
      from += key.size();
      auto end = out.find_first_of("& ", from);
      if (end == std::string::npos) end = out.size();
      out.replace(from, end - from, "***");
    }
  }
  return out;
}

Result<std::unique_ptr<Connection>> open(std::string_view url, const OpenOptions& options) {
  GF_TRY(const auto parsed, parse_url(url));
  return parsed.dialect == Dialect::sqlite ? open_sqlite(parsed.target, options)
                                           : open_postgres(parsed.target, options);
}

Result<Transaction> Transaction::begin(Connection& connection, std::string_view how) {
  GF_TRYV(connection.execute(how));
  return Transaction(connection);
}

Transaction::~Transaction() {
  // A failure here leaves a connection that is broken anyway: the server rolls back by itself.
  if (connection_ != nullptr && connection_->in_transaction()) (void)connection_->execute("ROLLBACK");
}

Result<void> Transaction::commit() {
  auto result = connection_->execute("COMMIT");
  if (!result) return result;
  connection_ = nullptr;
  return success();
}

std::string quoted_text(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

std::string quoted_name(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

Status status_of_sqlstate(std::string_view sqlstate) {
  const auto in = [&](std::string_view group) { return sqlstate.starts_with(group); };
  if (sqlstate == "42601" || sqlstate == "42P14") return Status::syntax_error;
  if (in("28") || sqlstate == "42501" || sqlstate == "25006") return Status::unauthorised;
  if (sqlstate == "3D000") return Status::not_found;
  if (in("08") || sqlstate == "57P01" || sqlstate == "57P02" || sqlstate == "57P03") return Status::network_error;
  if (sqlstate == "57014") return Status::cancelled;
  if (sqlstate == "55P03" || sqlstate == "40P01" || sqlstate == "40001" || sqlstate == "55006") return Status::locked;
  if (sqlstate == "53100") return Status::disk_full;
  if (sqlstate == "0A000") return Status::unsupported;
  return Status::database_error;
}

}  // namespace gf::sql
