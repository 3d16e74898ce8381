#include "migrate/check.hpp"

#include "base/utf8.hpp"
#include "sql/lexer.hpp"
#include "sql/parser.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gf::migrate {
namespace {

using Words = std::vector<std::string>;

bool has(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Position of `first second` next to each other, or npos.
std::size_t find_pair(const Words& words, std::string_view first, std::string_view second) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == first && words[i + 1] == second) return i;
  }
  return std::string::npos;
}
bool has_pair(const Words& words, std::string_view first, std::string_view second) {
  return find_pair(words, first, second) != std::string::npos;
}

std::string_view at(const Words& words, std::size_t i) {
  return i < words.size() ? std::string_view(words[i]) : std::string_view();
}

/// The name that begins at word i: "schema . table".
std::string name_at(const Words& words, std::size_t i) {
  if (at(words, i) == "if") i += at(words, i + 1) == "not" ? 3 : 2;
  if (at(words, i) == "only") ++i;
  std::string name(at(words, i));
  while (at(words, i + 1) == "." && i + 2 < words.size()) {
    name += "." + words[i + 2];
    i += 2;
  }
  return name;
}

/// Enough of a statement to know it by; long data behind it does not matter.
constexpr std::size_t known_by = 400;

std::string dropped_by(const Words& words) {
  const auto first = at(words, 0);
  if (first == "drop") {
    for (const std::string_view kind : {"table", "schema", "database", "sequence", "type", "domain", "extension"}) {
      if (at(words, 1) == kind) return fmt::format("{} {}", kind, name_at(words, 2));
    }
    if (at(words, 1) == "materialized") return fmt::format("materialized view {}", name_at(words, 3));
  }
  if (first == "truncate") return fmt::format("all rows of {}", name_at(words, at(words, 1) == "table" ? 2 : 1));
  if (first == "delete") return fmt::format("rows of {}", name_at(words, 2));
  if (first == "alter" && at(words, 1) == "table") {
    for (std::size_t i = 2; i + 1 < words.size(); ++i) {
      if (words[i] != "drop" || words[i + 1] == "constraint" || words[i + 1] == "default" || words[i + 1] == "not" ||
          words[i + 1] == "identity" || words[i + 1] == "expression") {
        continue;
      }
      const std::size_t column = words[i + 1] == "column" ? i + 2 : i + 1;
      return fmt::format("column {}.{}", name_at(words, 2), name_at(words, column));
    }
  }
  return "";
}

}  // namespace

std::string describe(std::size_t index, std::string_view statement) {
  std::string line;
  for (const char c : statement.substr(0, 200)) {
    const bool blank = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (blank && (line.empty() || line.back() == ' ')) continue;
    line += blank ? ' ' : c;
  }
  return fmt::format("statement {}, {}: ", index + 1, shown(line));
}

StatementTraits traits_of(std::string_view statement, sql::Dialect dialect) {
  StatementTraits traits;
  const Words words = sql::leading_tokens(statement, dialect, known_by);
  const auto first = at(words, 0);
  const auto second = at(words, 1);
  traits.drops = dropped_by(words);
  if (dialect == sql::Dialect::sqlite) {
    const bool to_savepoint = first == "rollback" && has(words, "to");
    traits.ends_or_begins_transaction =
        first == "begin" || first == "commit" || first == "end" || (first == "rollback" && !to_savepoint);
    if (first == "vacuum") traits.outside_transaction_only = traits.repeatable = true;
    if (first == "attach" || first == "detach") traits.outside_transaction_only = true;
    if (first == "pragma") {
      const std::size_t name = at(words, 2) == "." ? 3 : 1;
      const auto pragma = at(words, name);
      const bool sets = at(words, name + 1) == "=" || at(words, name + 1) == "(";
      traits.silent_in_transaction =
          sets &&
          (pragma == "foreign_keys" || pragma == "journal_mode" || pragma == "synchronous" || pragma == "auto_vacuum" ||
           pragma == "page_size" || pragma == "encoding" || pragma == "temp_store" || pragma == "wal_checkpoint");
      traits.repeatable = true;
    }
    return traits;
  }
  traits.ends_or_begins_transaction =
      first == "begin" || first == "commit" || first == "end" || first == "abort" ||
      (first == "start" && second == "transaction") || (first == "rollback" && !has(words, "to")) ||
      (first == "rollback" && second == "prepared") || (first == "prepare" && second == "transaction");
  const bool concurrently = has(words, "concurrently");
  const bool names_index = second == "index" || (second == "unique" && at(words, 2) == "index");
  if (concurrently && ((first == "create" && names_index) || (first == "drop" && names_index) || first == "reindex")) {
    traits.outside_transaction_only = true;
    traits.repeatable = first == "reindex" || has(words, "if");
  }
  if (first == "vacuum" || (first == "alter" && second == "system")) {
    traits.outside_transaction_only = traits.repeatable = true;
  }
  if ((first == "create" || first == "drop") &&
      (second == "database" || second == "tablespace" || second == "subscription")) {
    traits.outside_transaction_only = true;
  }
  if (first == "alter" && second == "database" && has_pair(words, "set", "tablespace"))
    traits.outside_transaction_only = true;
  if (first == "reindex" && (has(words, "database") || has(words, "system"))) {
    traits.outside_transaction_only = traits.repeatable = true;
  }
  if (first == "alter" && has(words, "detach") && concurrently) traits.outside_transaction_only = true;
  if (first == "cluster" && words.size() == 1) traits.outside_transaction_only = traits.repeatable = true;
  traits.changes_session = first == "set" || first == "reset" || has(words, "set_config");
  return traits;
}

Result<void> check_section(const Section& section, const FileHeader& header, sql::Dialect dialect) {
  for (std::size_t i = 0; i < section.statements.size(); ++i) {
    const auto& statement = section.statements[i];
    const auto fail = [&](Status status, sql::Place place, std::string_view words) {
      return Error{status, fmt::format("{} {}{}", section.prefix(place), describe(i, statement.text), words), {}};
    };
    if (dialect == sql::Dialect::postgresql) {
      const auto parsed = sql::parse_postgres(statement.text);
      if (!parsed.spans) {
        return fail(Status::syntax_error, section.place_in(statement, parsed.error_offset), parsed.message);
      }
    }
    const auto traits = traits_of(statement.text, dialect);
    if (!header.transaction) continue;
    if (traits.ends_or_begins_transaction) {
      return fail(
          Status::invalid_argument, statement.place,
          "it begins or ends a transaction, and the file runs in one of its own; leave it out, or put `-- gameforge: "
          "transaction: off` at the head of the file");
    }
    if (traits.outside_transaction_only) {
      return fail(Status::invalid_argument, statement.place,
                  "it cannot run inside a transaction; put `-- gameforge: transaction: off` at the head of the file");
    }
    if (traits.silent_in_transaction) {
      return fail(
          Status::invalid_argument, statement.place,
          "inside a transaction this PRAGMA does nothing; put `-- gameforge: foreign-keys: off` (for foreign_keys) or "
          "`-- gameforge: transaction: off` at the head of the file");
    }
  }
  return success();
}

Result<void> replay_on(sql::Connection& scratch, const Section& section) {
  for (std::size_t i = 0; i < section.statements.size(); ++i) {
    const auto& statement = section.statements[i];
    const auto fail = [&]() -> Error {
      const auto& failure = scratch.failure();
      const auto place = section.place_in(statement, failure.offset.value_or(0));
      return {failure.status == Status::database_error ? Status::syntax_error : failure.status,
              fmt::format("{} {}{} [{}]", section.prefix(place), describe(i, statement.text), failure.message,
                          failure.code),
              {}};
    };
    const auto prepared = sql::prepare_sqlite(scratch, statement.text);
    if (!prepared) return fail();
    // SQLite's own cut must be ours: what is left over would have been lost.
    const std::string_view rest = std::string_view(statement.text).substr(prepared.value().used_bytes);
    if (sql::Lexer(rest, sql::Dialect::sqlite).next().kind != sql::TokenKind::end) {
      return Error{Status::internal,
                   fmt::format("{} {}SQLite sees more than one statement here", section.prefix(statement.place),
                               describe(i, statement.text)),
                   {}};
    }
    const auto words = sql::leading_tokens(statement.text, sql::Dialect::sqlite, 3);
    const auto first = at(words, 0);
    if (first != "create" && first != "alter" && first != "drop") continue;
    if (!scratch.execute(statement.text)) return fail();
  }
  return success();
}

std::vector<Remark> lint(const Section& section, bool transaction, sql::Dialect dialect, std::set<std::string>& made) {
  std::vector<Remark> remarks;
  for (std::size_t i = 0; i < section.statements.size(); ++i) {
    const auto& statement = section.statements[i];
    const Words words = sql::leading_tokens(statement.text, dialect, known_by);
    const auto say = [&](std::string rule, std::string_view message) {
      remarks.push_back(
          {section.file, statement.place, std::move(rule),
           fmt::format("{} {}{}", section.prefix(statement.place), describe(i, statement.text), message)});
    };
    const auto first = at(words, 0);
    if (first == "create") {
      const auto table = std::find(words.begin(), words.end(), "table");
      if (table != words.end() && table - words.begin() <= 4) {
        made.insert(name_at(words, static_cast<std::size_t>(table - words.begin()) + 1));
      }
    }
    if (const auto drops = dropped_by(words); !drops.empty()) {
      const auto name = drops.substr(drops.rfind(' ') + 1);
      if (!made.contains(name)) say("loses-data", fmt::format("it drops {}, which no rollback brings back", drops));
    }
    if (dialect != sql::Dialect::postgresql) continue;
    if (first == "create" && has(words, "index") && (at(words, 1) == "index" || at(words, 2) == "index")) {
      const auto on = std::find(words.begin(), words.end(), "on");
      const auto name =
          on == words.end() ? std::string() : name_at(words, static_cast<std::size_t>(on - words.begin()) + 1);
      if (!has(words, "concurrently") && !made.contains(name)) {
        say("index-not-concurrent",
            "it stops writers of the table while the index is built; CREATE INDEX CONCURRENTLY in a "
            "file with `transaction: off` does not");
      }
    }
    if (first == "alter" && at(words, 1) == "table" && !made.contains(name_at(words, 2))) {
      if (std::find(words.begin() + 2, words.end(), "alter") != words.end() && has(words, "type")) {
        say("rewrites-table", "a changed type mostly rewrites the table under a lock that stops readers too");
      }
      if (has_pair(words, "set", "not")) {
        say("scans-table",
            "SET NOT NULL reads the whole table under a lock; a CHECK (x IS NOT NULL) NOT VALID that is "
            "validated first avoids it");
      }
      const bool adds_constraint =
          has(words, "constraint") || has(words, "foreign") || has(words, "references") || has(words, "check");
      if (has(words, "add") && adds_constraint && !has_pair(words, "not", "valid") &&
          !has_pair(words, "using", "index") &&
          (has(words, "foreign") || has(words, "references") || has(words, "check"))) {
        say("constraint-not-deferred",
            "it reads the whole table under a lock; add it NOT VALID, then VALIDATE CONSTRAINT");
      }
      if (has(words, "add") && (has(words, "unique") || has(words, "primary")) && !has_pair(words, "using", "index")) {
        say("index-not-concurrent",
            "the index of the constraint is built under a lock that stops readers too; build it "
            "concurrently and add the constraint USING INDEX");
      }
      if (has(words, "add") && has(words, "default") &&
          (has(words, "random") || has(words, "gen_random_uuid") || has(words, "clock_timestamp") ||
           has(words, "nextval"))) {
        say("rewrites-table", "a column whose default differs from row to row rewrites the table");
      }
      if (has(words, "rename")) say("breaks-readers", "programs that still use the old name fail from this moment on");
    }
    if ((first == "vacuum" && has(words, "full")) || first == "cluster") {
      say("rewrites-table", "it rewrites the table under a lock that stops readers too");
    }
    if (first == "lock") say("locks-table", "it holds the lock until the file's transaction ends");
    if (!transaction && !traits_of(statement.text, dialect).outside_transaction_only) {
      say("not-atomic", "the file runs outside a transaction, though this statement would not need it");
    }
  }
  return remarks;
}

}  // namespace gf::migrate
