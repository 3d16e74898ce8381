#include "migrate/file.hpp"

#include "base/sha256.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

namespace gf::migrate {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

bool is_variable_name(std::string_view name) {
  return !name.empty() && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

std::optional<std::int64_t> parse_version(std::string_view text) {
  std::int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || version < 0) return std::nullopt;
  return version;
}

/// A section marker: which of up, down, verify, and for which dialect.
struct Marker {
  std::string_view which;
  std::optional<sql::Dialect> dialect;
};

/// What a line comment says to us: a marker, a key with its value, or nothing.
struct Directive {
  enum class Kind : std::uint8_t { none, marker, key, unknown } kind = Kind::none;
  Marker marker;
  std::string_view key;
  std::string_view value;
};

constexpr std::string_view keys[] = {"depends", "transaction",  "foreign-keys",       "irreversible",
                                     "timeout", "lock-timeout", "compatible-back-to", "variables"};

bool is_key(std::string_view word) { return std::find(std::begin(keys), std::end(keys), word) != std::end(keys); }

std::optional<Marker> parse_marker(std::string_view words) {
  const auto space = words.find_first_of(" \t");
  const std::string_view which = words.substr(0, space);
  Marker marker;
  for (const std::string_view known : {"up", "down", "verify"}) {
    if (which == known) marker.which = known;
  }
  if (marker.which.empty()) return std::nullopt;
  if (space == std::string_view::npos) return marker;
  const std::string_view dialect = trimmed(words.substr(space));
  if (dialect == "sqlite") {
    marker.dialect = sql::Dialect::sqlite;
  } else if (dialect == "postgresql" || dialect == "postgres") {
    marker.dialect = sql::Dialect::postgresql;
  } else {
    return std::nullopt;
  }
  return marker;
}

/// `comment` is the whole comment, its dashes included.
Directive parse_directive(std::string_view comment, bool in_header) {
  Directive out;
  std::string_view words = trimmed(comment.substr(2));
  if (words.starts_with("+goose ")) {
    // goose's markers; its statement markers are not needed, since statements are found by the grammar.
    words = trimmed(words.substr(7));
    if (words == "Up" || words == "Down") {
      out.kind = Directive::Kind::marker;
      out.marker.which = words == "Up" ? "up" : "down";
    } else if (words == "NO TRANSACTION") {
      out = {Directive::Kind::key, {}, "transaction", "off"};
    }
    return out;
  }
  const bool ours = words.starts_with("gameforge:");
  if (!ours && !in_header) return out;
  if (ours) {
    words = trimmed(words.substr(10));
    if (const auto marker = parse_marker(words)) {
      out.kind = Directive::Kind::marker;
      out.marker = *marker;
      return out;
    }
  }
  const auto colon = words.find(':');
  const std::string_view key = trimmed(words.substr(0, colon));
  if (is_key(key) && (colon != std::string_view::npos || key == "irreversible")) {
    out.kind = Directive::Kind::key;
    out.key = key;
    if (colon != std::string_view::npos) out.value = trimmed(words.substr(colon + 1));
  } else if (ours) {
    out.kind = Directive::Kind::unknown;
    out.key = words;
  }
  return out;
}

Error at_line(const std::string& file, std::uint32_t line, std::string_view words,
              Status status = Status::invalid_argument) {
  return {status, fmt::format("{}:{}:1: {}", file, line, words), {}};
}

Result<bool> parse_switch(const std::string& file, std::uint32_t line, std::string_view key, std::string_view value) {
  if (value == "on" || value == "off") return value == "on";
  return at_line(file, line, fmt::format("{} is {}; it is on or off", key, shown(value)));
}

template <class Take>
void each_part(std::string_view list, Take take) {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    take(trimmed(list.substr(0, comma)));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

Result<void> take_key(FileHeader& header, const std::string& file, std::uint32_t line, const Directive& directive) {
  const auto value = directive.value;
  if (directive.key == "depends") {
    header.declares_depends = true;
    std::string bad;
    each_part(value, [&](std::string_view part) {
      const auto version = parse_version(part);
      if (!version || *version == 0) {
        bad = std::string(part);
        return;
      }
      if (std::find(header.depends.begin(), header.depends.end(), *version) == header.depends.end()) {
        header.depends.push_back(*version);
      }
    });
    if (!bad.empty()) {
      return at_line(file, line, fmt::format("depends has {}; it lists versions, such as 003, 007", shown(bad)));
    }
  } else if (directive.key == "transaction") {
    GF_TRY(header.transaction, parse_switch(file, line, directive.key, value));
  } else if (directive.key == "foreign-keys") {
    GF_TRY(header.foreign_keys, parse_switch(file, line, directive.key, value));
  } else if (directive.key == "irreversible") {
    if (!value.empty() && value != "true" && value != "on") {
      return at_line(file, line, "irreversible takes no value");
    }
    header.irreversible = true;
  } else if (directive.key == "timeout" || directive.key == "lock-timeout") {
    const auto duration = parse_duration_us(value);
    if (!duration) {
      return at_line(file, line,
                     fmt::format("{} is {}; it is a time such as 500ms, 30s or 5min", directive.key, shown(value)));
    }
    (directive.key == "timeout" ? header.timeout_us : header.lock_timeout_us) = *duration;
  } else if (directive.key == "compatible-back-to") {
    const auto version = parse_version(value);
    if (!version) return at_line(file, line, fmt::format("compatible-back-to is {}; it is a version", shown(value)));
    header.compatible_back_to = *version;
  } else if (directive.key == "variables") {
    std::string bad;
    each_part(value, [&](std::string_view part) {
      const auto equals = part.find('=');
      const std::string_view name = trimmed(part.substr(0, equals));
      if (!is_variable_name(name)) {
        bad = std::string(part);
        return;
      }
      auto& fallback = header.variables[std::string(name)];
      if (equals != std::string_view::npos) fallback = std::string(trimmed(part.substr(equals + 1)));
    });
    if (!bad.empty() || header.variables.empty()) {
      return at_line(file, line, fmt::format("variables has {}; it lists names, such as owner, size = 10", shown(bad)));
    }
  }
  return success();
}

/// The header: comments before the first marker or the first statement. Quick, and the same for both dialects.
Result<FileHeader> parse_header(const std::string& file, std::string_view text) {
  FileHeader header;
  std::size_t at = text.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
  std::uint32_t line = 1;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '\n') {
      ++line;
      ++at;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
      ++at;
    } else if (c == '-' && text.substr(at, 2) == "--") {
      auto end = text.find('\n', at);
      if (end == std::string_view::npos) end = text.size();
      const auto directive = parse_directive(text.substr(at, end - at), true);
      if (directive.kind == Directive::Kind::marker) return header;
      if (directive.kind == Directive::Kind::unknown) {
        return at_line(
            file, line,
            fmt::format("{} is unknown; there are the sections up, down and verify, each also with sqlite or "
                        "postgresql behind it, and the keys {}",
                        shown(directive.key), fmt::join(keys, ", ")));
      }
      if (directive.kind == Directive::Kind::key) {
        GF_TRYV(take_key(header, file, line, directive));
      }
      at = end;
    } else if (c == '/' && text.substr(at, 2) == "/*") {
      const auto end = text.find("*/", at + 2);
      if (end == std::string_view::npos) return header;
      line += static_cast<std::uint32_t>(std::count(text.begin() + static_cast<std::ptrdiff_t>(at),
                                                    text.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
      at = end + 2;
    } else {
      return header;
    }
  }
  return header;
}

/// A stretch of the file under one marker.
struct Segment {
  Marker marker;
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The segments of a file. A marker counts only where the scanner sees a line comment: not in a string or a body.
/// `without_marker` is what the text is when it has no marker at all.
Result<std::vector<Segment>> find_segments(const std::string& file, std::string_view text, sql::Dialect dialect,
                                           std::string_view without_marker) {
  std::vector<Segment> segments;
  std::optional<std::size_t> first_statement;
  const std::size_t start = text.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
  sql::Lexer lexer(text, dialect, start, true);
  for (;;) {
    const auto token = lexer.next();
    if (token.kind == sql::TokenKind::end || token.kind == sql::TokenKind::broken) break;
    if (token.kind != sql::TokenKind::comment) {
      if (segments.empty() && !first_statement && token.kind != sql::TokenKind::semicolon)
        first_statement = token.offset;
      continue;
    }
    std::string_view comment = lexer.text_of(token);
    if (!comment.starts_with("--")) continue;
    // SQLite's comment reaches over a lone carriage return; ours does not.
    comment = comment.substr(0, comment.find('\r'));
    const auto directive = parse_directive(comment, false);
    if (directive.kind == Directive::Kind::none) continue;
    const auto place = sql::PlaceFinder(text).at(token.offset);
    if (directive.kind != Directive::Kind::marker) {
      if (segments.empty() && !first_statement) continue;  // The header was judged by itself.
      return at_line(file, place.line,
                     fmt::format("{} stands behind the first statement or section; keys stand at the head of the file",
                                 shown(directive.key)));
    }
    // Behind something else on its line it is a remark about that.
    std::string_view before = text.substr(0, token.offset);
    before.remove_prefix(before.find_last_of("\r\n") + 1);
    if (before.starts_with(byte_order_mark)) before.remove_prefix(byte_order_mark.size());
    if (!trimmed(before).empty()) continue;
    if (first_statement) {
      const auto statement = sql::PlaceFinder(text).at(*first_statement);
      return Error{
          Status::syntax_error,
          fmt::format("{}:{}:{}: there is SQL before the first section", file, statement.line, statement.column),
          {}};
    }
    if (!segments.empty()) segments.back().end = token.offset;
    const std::size_t begin = token.offset + comment.size();
    segments.push_back({directive.marker, begin, text.size()});
    lexer = sql::Lexer(text, directive.marker.dialect.value_or(dialect), begin, true);
  }
  if (segments.empty()) segments.push_back({Marker{without_marker, {}}, start, text.size()});
  return segments;
}

/// `text` with its variables filled in, and where that moved things.
struct Expanded {
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> shifts;  // From this byte on, that byte of the source.
};

Result<Expanded> expand(const std::string& file, std::string_view source, std::string_view text,
                        const FileHeader& header, const std::map<std::string, std::string>& variables) {
  Expanded out;
  std::size_t at = 0;
  while (true) {
    const auto found = text.find("${", at);
    if (found == std::string_view::npos) break;
    const auto close = text.find('}', found);
    if (close == std::string_view::npos) break;
    const std::string name(text.substr(found + 2, close - found - 2));
    const auto declared = header.variables.find(name);
    if (declared == header.variables.end()) {
      out.text += text.substr(at, found + 2 - at);
      at = found + 2;
      continue;
    }
    const auto given = variables.find(name);
    if (given == variables.end() && !declared->second) {
      const auto place = sql::PlaceFinder(source).at(static_cast<std::size_t>(text.data() - source.data()) + found);
      return Error{
          Status::invalid_argument,
          fmt::format("{}:{}:{}: the variable {} has no value and no default", file, place.line, place.column, name),
          {}};
    }
    out.text += text.substr(at, found - at);
    out.text += given != variables.end() ? given->second : *declared->second;
    at = close + 1;
    out.shifts.emplace_back(out.text.size(), at);
  }
  out.text += text.substr(at);
  return out;
}

/// Where a byte of an expanded text that begins at the source's `base` lies in the source. What lies within a
/// variable's value, which may be longer than its reference, lies within the reference.
std::size_t source_offset(const std::vector<std::pair<std::size_t, std::size_t>>& shifts, std::size_t offset,
                          std::size_t base = 0) {
  std::size_t from = 0;
  for (const auto& [expanded, original] : shifts) {
    if (expanded > offset) return std::min(base + (offset - from), original - 1);
    from = expanded;
    base = original;
  }
  return base + (offset - from);
}

Result<void> check_text(const std::string& file, std::string_view text) {
  const auto refuse = [&](std::size_t offset, std::string_view words) {
    const auto place = sql::PlaceFinder(text).at(offset);
    return Error{Status::syntax_error, fmt::format("{}:{}:{}: {}", file, place.line, place.column, words), {}};
  };
  if (text.size() > max_file_bytes) {
    return Error{
        Status::payload_too_large,
        fmt::format("{}:1:1: the file has {} bytes; a migration has at most {}", file, text.size(), max_file_bytes),
        {}};
  }
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    return refuse(0, "the file is UTF-16; save it as UTF-8");
  }
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    return refuse(nul, "there is a NUL byte; a migration is text in UTF-8");
  }
  if (const auto bad = first_invalid_utf8(text)) {
    return refuse(*bad, "the bytes here are not UTF-8; a migration is text in UTF-8");
  }
  return success();
}

}  // namespace

std::optional<std::int64_t> parse_duration_us(std::string_view text) {
  text = trimmed(text);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  const std::string_view unit = trimmed(text.substr(static_cast<std::size_t>(end - text.data())));
  std::int64_t factor = 0;
  if (unit.empty() || unit == "s") {
    factor = 1'000'000;
  } else if (unit == "ms") {
    factor = 1'000;
  } else if (unit == "us") {
    factor = 1;
  } else if (unit == "min") {
    factor = 60'000'000;
  } else if (unit == "h") {
    factor = 3'600'000'000;
  } else {
    return std::nullopt;
  }
  // PostgreSQL counts timeouts in 32 bits of milliseconds: 24 days.
  constexpr std::int64_t most = std::int64_t{2147483647} * 1000;
  if (number > most / factor) return std::nullopt;
  return number * factor;
}

std::string normalised(std::string_view text) {
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  std::string out;
  out.reserve(text.size() + 1);
  const auto end_line = [&out] {
    while (!out.empty() && (out.back() == ' ' || out.back() == '\t')) out.pop_back();
    out += '\n';
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
      end_line();
    } else if (text[i] == '\n') {
      end_line();
    } else {
      out += text[i];
    }
  }
  end_line();
  while (out.size() >= 2 && out[out.size() - 2] == '\n') out.pop_back();
  if (out == "\n") out.clear();
  return out;
}

std::string checksum_of(std::string_view up_text, std::string_view down_text) {
  std::string all = normalised(up_text);
  if (!down_text.empty()) {
    all += '\0';
    all += normalised(down_text);
  }
  return "v1:" + sha256_hex(all);
}

sql::Place Section::place_in(const FileStatement& statement, std::size_t byte) const {
  return sql::PlaceFinder(source).at(source_offset(statement.shifts, byte, statement.offset));
}

std::string Section::prefix(sql::Place place) const { return fmt::format("{}:{}:{}:", file, place.line, place.column); }

std::string Migration::label() const { return repeatable ? "R_" + name : version_text + "_" + name; }

Result<Section> Migration::section(std::string_view which, sql::Dialect dialect,
                                   const std::map<std::string, std::string>& variables) const {
  Section out;
  const bool from_down = which == "down" && !down_file.empty();
  out.file = from_down ? down_file : file;
  const std::string& all = from_down ? down_text : text;
  out.source = all;
  GF_TRY(const auto segments, find_segments(out.file, out.source, dialect, from_down ? "down" : "up"));
  sql::PlaceFinder places(out.source);
  for (const auto& segment : segments) {
    if (segment.marker.which != which) continue;
    if (segment.marker.dialect && *segment.marker.dialect != dialect) continue;
    out.present = true;
    const std::string_view part = std::string_view(out.source).substr(segment.begin, segment.end - segment.begin);
    GF_TRY(auto expanded, expand(out.file, out.source, part, header, variables));
    const auto split = sql::split(expanded.text, dialect);
    if (split.error) {
      const auto place = places.at(segment.begin + source_offset(expanded.shifts, split.error->offset));
      return Error{Status::syntax_error,
                   fmt::format("{} {} ({})", out.prefix(place), split.error->message, split.error->kind),
                   {}};
    }
    for (const auto& statement : split.statements) {
      FileStatement one;
      one.text = std::string(statement.text);
      one.offset = segment.begin + source_offset(expanded.shifts, statement.offset);
      one.place = places.at(one.offset);
      for (const auto& [at, original] : expanded.shifts) {
        if (at <= statement.offset) continue;
        one.shifts.emplace_back(at - statement.offset, segment.begin + original);
        // The first one behind the statement bounds a value that the statement ends within.
        if (at > statement.offset + statement.text.size()) break;
      }
      out.statements.push_back(std::move(one));
    }
  }
  return out;
}

Result<Section> Migration::up(sql::Dialect dialect, const std::map<std::string, std::string>& variables) const {
  return section("up", dialect, variables);
}
Result<Section> Migration::down(sql::Dialect dialect, const std::map<std::string, std::string>& variables) const {
  return section("down", dialect, variables);
}
Result<Section> Migration::verify(sql::Dialect dialect, const std::map<std::string, std::string>& variables) const {
  return section("verify", dialect, variables);
}

std::string Migration::token_sum(sql::Dialect dialect) const {
  std::string all = fmt::format("{}|{}|{}|{}|{}|{}|{}\n", header.declares_depends ? 1 : 0,
                                fmt::join(header.depends, ","), header.transaction ? 1 : 0, header.foreign_keys ? 1 : 0,
                                header.irreversible ? 1 : 0, header.timeout_us, header.lock_timeout_us);
  for (const std::string* part : {&text, &down_text}) {
    const std::string form = normalised(*part);
    const auto segments = find_segments(file, form, dialect, "up");
    if (!segments) continue;
    for (const auto& segment : segments.value()) {
      all += fmt::format("\x1d{}{}", segment.marker.which,
                         segment.marker.dialect ? sql::name_of(*segment.marker.dialect) : std::string_view());
      const std::string_view body = std::string_view(form).substr(segment.begin, segment.end - segment.begin);
      sql::Lexer lexer(body, segment.marker.dialect.value_or(dialect));
      for (auto token = lexer.next(); token.kind != sql::TokenKind::end; token = lexer.next()) {
        all += '\x1f';
        all += lexer.text_of(token);
      }
    }
    all += '\x1e';
  }
  return "v1:" + sha256_hex(all);
}

Result<std::vector<Migration>> parse_files(std::vector<SourceFile> files) {
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::vector<Migration> migrations;
  migrations.reserve(files.size());
  struct Half {
    FileName parsed;
    SourceFile file;
  };
  std::vector<Half> downs;
  for (auto& file : files) {
    GF_TRY(auto parsed, parse_file_name(file.name));
    GF_TRYV(check_text(file.name, file.text));
    if (parsed.form == FileName::Form::down) {
      downs.push_back({std::move(parsed), std::move(file)});
      continue;
    }
    Migration migration;
    GF_TRY(migration.header, parse_header(file.name, file.text));
    migration.version = parsed.version;
    migration.version_text = parsed.version_text;
    migration.name = parsed.name;
    migration.repeatable = parsed.form == FileName::Form::repeatable;
    migration.file = file.name;
    migration.text = std::move(file.text);
    migrations.push_back(std::move(migration));
  }
  std::sort(migrations.begin(), migrations.end(), [](const Migration& a, const Migration& b) {
    if (a.repeatable != b.repeatable) return b.repeatable;
    if (a.version != b.version) return a.version < b.version;
    return a.file < b.file;
  });
  std::map<std::string_view, const Migration*> names;
  for (std::size_t i = 0; i < migrations.size(); ++i) {
    const auto& migration = migrations[i];
    if (i > 0 && !migration.repeatable && migrations[i - 1].version == migration.version) {
      return Error{Status::already_exists,
                   fmt::format("{}:1:1: the version {} is also that of {}", migration.file, migration.version_text,
                               migrations[i - 1].file),
                   {}};
    }
    const auto [other, fresh] = names.emplace(migration.name, &migration);
    if (!fresh && other->second->repeatable == migration.repeatable) {
      return Error{
          Status::already_exists,
          fmt::format("{}:1:1: the name {} is also that of {}", migration.file, migration.name, other->second->file),
          {}};
    }
  }
  for (auto& down : downs) {
    const auto match = std::find_if(migrations.begin(), migrations.end(), [&](const Migration& migration) {
      return !migration.repeatable && migration.version == down.parsed.version;
    });
    if (match == migrations.end() || match->name != down.parsed.name || !match->file.ends_with(".up.sql")) {
      return Error{Status::not_found,
                   fmt::format("{}:1:1: there is no {}_{}.up.sql that it would undo", down.file.name,
                               down.parsed.version_text, down.parsed.name),
                   {}};
    }
    if (!match->down_file.empty()) {
      return Error{Status::already_exists,
                   fmt::format("{}:1:1: the version is also that of {}", down.file.name, match->down_file),
                   {}};
    }
    match->down_file = down.file.name;
    match->down_text = std::move(down.file.text);
  }
  for (auto& migration : migrations) migration.checksum = checksum_of(migration.text, migration.down_text);
  return migrations;
}

Result<Section> parse_recorded_down(std::string_view label, std::string_view text, sql::Dialect dialect) {
  Migration recorded;
  recorded.file = fmt::format("{} (recorded)", label);
  recorded.down_file = recorded.file;
  recorded.down_text = std::string(text);
  return recorded.down(dialect, {});
}

}  // namespace gf::migrate
