// SQL's tokens, as the scanners of PostgreSQL 15 and SQLite 3.40 see them: what a quote, a comment or a word is.
#pragma once

#include "sql/dialect.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gf::sql {

enum class TokenKind : std::uint8_t {
  end,                ///< No more text.
  word,               ///< A keyword or a bare identifier.
  quoted_identifier,  ///< "x", and in SQLite [x] and `x`.
  string,             ///< Any literal in quotes or dollar quotes, its prefix included.
  number,
  parameter,  ///< $1, ?1, :name, @name.
  semicolon,
  comment,    ///< Only when comments are asked for.
  backslash,  ///< In PostgreSQL outside quotes: always a command of psql.
  other,      ///< One character of an operator, a parenthesis, a comma, or what the dialect has no use for.
  broken,     ///< A quote or comment that never ends; see Lexer::problem.
};

/// What a broken token is. The names are those of the golden vectors.
enum class LexProblem : std::uint8_t {
  none,
  unterminated_string,
  unterminated_identifier,
  unterminated_dollar_quote,
  unterminated_comment,
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::size_t offset = 0;
  std::size_t length = 0;
};

/// Walks over a text, token by token. Never fails: what is broken reaches to the end of the text.
///
/// Sources: PostgreSQL 15, src/backend/parser/scan.l (standard_conforming_strings on, its default since 9.1);
/// SQLite 3.40, src/tokenize.c, sqlite3GetToken.
/// Threads: not synchronised. The text is borrowed for the lexer's life.
class Lexer {
 public:
  Lexer(std::string_view text, Dialect dialect, std::size_t start = 0, bool comments = false)
      : text_(text), at_(start), dialect_(dialect), comments_(comments) {}

  Token next();
  LexProblem problem() const { return problem_; }
  std::string_view text_of(const Token& token) const { return text_.substr(token.offset, token.length); }

 private:
  Token next_postgres();
  Token next_sqlite();
  Token make(TokenKind kind, std::size_t start, std::size_t end);
  Token broken(LexProblem problem, std::size_t start);
  /// Offset past the closing quote, or npos.
  std::size_t past_quoted(std::size_t from, char quote, bool backslashes) const;
  std::size_t past_postgres_string(std::size_t from, bool backslashes) const;
  std::size_t past_nested_comment(std::size_t from) const;
  std::size_t continuation(std::size_t from) const;
  char at(std::size_t position) const { return position < text_.size() ? text_[position] : '\0'; }

  std::string_view text_;
  std::size_t at_;
  Dialect dialect_;
  bool comments_;
  LexProblem problem_ = LexProblem::none;
};

/// Whether two words are the same but for the case of ASCII letters.
bool same_word(std::string_view a, std::string_view b) noexcept;

}  // namespace gf::sql
