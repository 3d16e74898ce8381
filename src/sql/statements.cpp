#include "sql/statements.hpp"

#include "sql/parser.hpp"

#include <algorithm>

namespace gf::sql {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

std::string_view kind_of(LexProblem problem) {
  switch (problem) {
    case LexProblem::unterminated_string:
      return "unterminated-string";
    case LexProblem::unterminated_identifier:
      return "unterminated-identifier";
    case LexProblem::unterminated_dollar_quote:
      return "unterminated-dollar-quote";
    case LexProblem::unterminated_comment:
      return "unterminated-comment";
    case LexProblem::none:
      break;
  }
  return "none";
}

std::string_view message_of(LexProblem problem) {
  switch (problem) {
    case LexProblem::unterminated_string:
      return "the string that begins here never ends";
    case LexProblem::unterminated_identifier:
      return "the quoted identifier that begins here never ends";
    case LexProblem::unterminated_dollar_quote:
      return "the dollar-quoted string that begins here never ends";
    case LexProblem::unterminated_comment:
      return "the comment that begins here never ends";
    case LexProblem::none:
      break;
  }
  return "";
}

/// The span of one statement as it is found.
struct Span {
  std::size_t first = 0;
  std::size_t end = 0;
  bool open = false;

  void take(const Token& token) {
    if (!open) first = token.offset;
    open = true;
    end = token.offset + token.length;
  }
};

struct Cutter {
  bool atomic_body = false;  // A function's SQL body was met: the one place where a keyword may be a name.
  std::string_view text;
  Split result;
  PlaceFinder places;

  explicit Cutter(std::string_view all) : text(all), places(all) {}

  void close(Span& span) {
    if (span.open) {
      result.statements.push_back({text.substr(span.first, span.end - span.first), span.first, places.at(span.first)});
    }
    span = {};
  }
  Split fail(std::string_view kind, std::size_t offset, std::string_view message) {
    result.error = SplitError{kind, offset, places.at(offset), std::string(message)};
    return std::move(result);
  }
};

// sqlite3_complete's states (src/complete.c): a statement that begins with [EXPLAIN [QUERY PLAN]] CREATE [TEMP] TRIGGER
// ends at a semicolon, END, and then a semicolon or the end of the text; any other at its first semicolon.
Split split_sqlite(std::string_view text, std::size_t start) {
  Cutter cutter(text);
  Lexer lexer(text, Dialect::sqlite, start);
  Span span;
  enum class Head { none, explain, create, plain, trigger } head = Head::none;
  enum class Tail { none, semicolon, end } tail = Tail::none;
  for (;;) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::broken) {
      return cutter.fail(kind_of(lexer.problem()), token.offset, message_of(lexer.problem()));
    }
    if (token.kind == TokenKind::end) {
      if (head == Head::trigger && tail != Tail::end) {
        return cutter.fail("unterminated-statement", span.first, "the trigger that begins here has no END");
      }
      cutter.close(span);
      return std::move(cutter.result);
    }
    if (token.kind == TokenKind::semicolon && (head != Head::trigger || tail == Tail::end)) {
      cutter.close(span);
      head = Head::none;
      tail = Tail::none;
      continue;
    }
    span.take(token);
    const std::string_view word = token.kind == TokenKind::word ? lexer.text_of(token) : std::string_view();
    switch (head) {
      case Head::none:
        head = same_word(word, "explain") ? Head::explain : same_word(word, "create") ? Head::create : Head::plain;
        break;
      case Head::explain:
        if (same_word(word, "create")) {
          head = Head::create;
        } else if (!same_word(word, "query") && !same_word(word, "plan")) {
          head = Head::plain;
        }
        break;
      case Head::create:
        if (same_word(word, "trigger")) {
          head = Head::trigger;
        } else if (!same_word(word, "temp") && !same_word(word, "temporary")) {
          head = Head::plain;
        }
        break;
      case Head::trigger:
        if (token.kind == TokenKind::semicolon) {
          tail = Tail::semicolon;
        } else {
          tail = tail == Tail::semicolon && same_word(word, "end") ? Tail::end : Tail::none;
        }
        break;
      case Head::plain:
        break;
    }
  }
}

// psql's rule (psqlscan.l): a semicolon ends a statement outside parentheses and outside BEGIN ... END of a function's
// SQL body. Beyond psql, END and CASE after AS or a dot are names, since the grammar takes any keyword there.
Split cut_postgres(std::string_view text, std::size_t start, bool* in_doubt) {
  Cutter cutter(text);
  Lexer lexer(text, Dialect::postgresql, start);
  Span span;
  std::size_t words = 0;
  bool routine = false;
  bool create = false;
  bool copy = false;
  bool copy_from = false;
  bool copy_stdin = false;
  bool name_follows = false;
  bool begin_seen = false;
  std::size_t parentheses = 0;
  std::size_t body = 0;
  const auto reset = [&] {
    words = 0;
    routine = create = copy = copy_from = copy_stdin = name_follows = begin_seen = false;
    parentheses = body = 0;
  };
  for (;;) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::broken) {
      return cutter.fail(kind_of(lexer.problem()), token.offset, message_of(lexer.problem()));
    }
    if (token.kind == TokenKind::backslash) {
      return cutter.fail("psql-meta-command", token.offset,
                         "a backslash begins a command of psql; a migration is SQL alone");
    }
    const bool closes = token.kind == TokenKind::semicolon && parentheses == 0 && body == 0;
    if (token.kind == TokenKind::end || closes) {
      if (copy_stdin) {
        return cutter.fail("copy-from-stdin", span.first,
                           "COPY ... FROM STDIN needs a data block, which a migration does not have; use INSERT");
      }
      cutter.close(span);
      *in_doubt = cutter.atomic_body;
      if (token.kind == TokenKind::end) return std::move(cutter.result);
      reset();
      continue;
    }
    span.take(token);
    const std::string_view shown = lexer.text_of(token);
    if (shown == "(") ++parentheses;
    if (shown == ")" && parentheses > 0) --parentheses;
    if (token.kind != TokenKind::word) {
      name_follows = shown == ".";
      copy_from = begin_seen = false;
      ++words;
      continue;
    }
    if (words == 0) {
      create = same_word(shown, "create");
      copy = same_word(shown, "copy");
    } else if (create && !routine && words <= 3) {
      routine = same_word(shown, "function") || same_word(shown, "procedure");
    }
    if (!name_follows) {
      if (copy && parentheses == 0) {
        copy_stdin = copy_stdin || (copy_from && same_word(shown, "stdin"));
        copy_from = same_word(shown, "from");
      }
      if (routine && body == 0) {
        if (begin_seen && same_word(shown, "atomic")) {
          body = 1;
          cutter.atomic_body = true;
        }
        begin_seen = same_word(shown, "begin");
      } else if (body > 0) {
        if (same_word(shown, "case")) ++body;
        if (same_word(shown, "end")) --body;
      }
    }
    name_follows = same_word(shown, "as");
    ++words;
  }
}

Split split_postgres(std::string_view text, std::size_t start) {
  bool in_doubt = false;
  Split cut = cut_postgres(text, start, &in_doubt);
  // Elsewhere the scanner alone tells a statement's end: a semicolon outside parentheses (a fuzzer compares the two).
  if (cut.error || !in_doubt) return cut;
  const auto parsed = parse_postgres(text.substr(start));
  if (!parsed.spans) return cut;
  // The grammar's cuts, trimmed to tokens. They differ from the scanner's where a keyword is a name.
  Split exact;
  PlaceFinder places(text);
  for (const auto& [offset, length] : *parsed.spans) {
    const std::string_view piece = text.substr(0, start + offset + length);
    Lexer lexer(piece, Dialect::postgresql, start + offset);
    Span span;
    for (Token token = lexer.next(); token.kind != TokenKind::end; token = lexer.next()) {
      if (token.kind == TokenKind::semicolon && !span.open) continue;
      span.take(token);
    }
    if (!span.open) continue;
    exact.statements.push_back({text.substr(span.first, span.end - span.first), span.first, places.at(span.first)});
  }
  return exact;
}

}  // namespace

PlaceFinder::PlaceFinder(std::string_view text) : text_(text) {
  if (text_.starts_with(byte_order_mark)) at_ = byte_order_mark.size();
}

Place PlaceFinder::at(std::size_t offset) {
  if (offset < at_) {
    place_ = {};
    at_ = text_.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
  }
  offset = std::min(offset, text_.size());
  while (at_ < offset) {
    const char c = text_[at_];
    // A lone carriage return ends a line too, as in old editors; before a line feed it belongs to that.
    if (c == '\n' || (c == '\r' && (at_ + 1 >= text_.size() || text_[at_ + 1] != '\n'))) {
      ++place_.line;
      place_.column = 1;
      ++at_;
      continue;
    }
    ++at_;
    while (at_ < offset && (static_cast<unsigned char>(text_[at_]) & 0xC0) == 0x80) ++at_;
    ++place_.column;
  }
  return place_;
}

Split split(std::string_view text, Dialect dialect) {
  const std::size_t start = text.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
  return dialect == Dialect::sqlite ? split_sqlite(text, start) : split_postgres(text, start);
}

std::vector<std::string> leading_tokens(std::string_view statement, Dialect dialect, std::size_t limit) {
  std::vector<std::string> tokens;
  Lexer lexer(statement, dialect);
  while (tokens.size() < limit) {
    const Token token = lexer.next();
    if (token.kind == TokenKind::end || token.kind == TokenKind::broken) break;
    std::string text(lexer.text_of(token));
    if (token.kind == TokenKind::word) {
      std::transform(text.begin(), text.end(), text.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    }
    tokens.push_back(std::move(text));
  }
  return tokens;
}

}  // namespace gf::sql
