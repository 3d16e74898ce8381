#include "sql/lexer.hpp"

#include <algorithm>

namespace gf::sql {
namespace {

constexpr std::size_t npos = std::string_view::npos;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_high(char c) { return static_cast<unsigned char>(c) >= 0x80; }

// scan.l: ident_start and ident_cont; dolq_start and dolq_cont are the same less the dollar.
bool starts_word(char c) { return is_letter(c) || c == '_' || is_high(c); }
bool continues_word(char c) { return starts_word(c) || is_digit(c) || c == '$'; }
bool is_postgres_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

// tokenize.c: IdChar is the same set as ident_cont. A vertical tab is a space only after another one (sqlite3Isspace
// knows it, the table of first characters does not).
bool starts_sqlite_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool continues_sqlite_space(char c) { return starts_sqlite_space(c) || c == '\v'; }

}  // namespace

bool same_word(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

Token Lexer::make(TokenKind kind, std::size_t start, std::size_t end) {
  at_ = end;
  return {kind, start, end - start};
}

Token Lexer::broken(LexProblem problem, std::size_t start) {
  problem_ = problem;
  at_ = text_.size();
  return {TokenKind::broken, start, text_.size() - start};
}

Token Lexer::next() { return dialect_ == Dialect::sqlite ? next_sqlite() : next_postgres(); }

std::size_t Lexer::past_quoted(std::size_t from, char quote, bool backslashes) const {
  for (std::size_t i = from; i < text_.size(); ++i) {
    if (backslashes && text_[i] == '\\') {
      ++i;
    } else if (text_[i] == quote) {
      if (at(i + 1) != quote) return i + 1;
      ++i;
    }
  }
  return npos;
}

// scan.l, quotecontinue: white space with at least one newline (line comments count as white space), then a quote. The
// offset past that quote, or npos where the literal ends.
std::size_t Lexer::continuation(std::size_t from) const {
  bool newline = false;
  std::size_t i = from;
  while (i < text_.size()) {
    const char c = text_[i];
    if (c == '\n' || c == '\r') {
      newline = true;
      ++i;
    } else if (is_postgres_space(c)) {
      ++i;
    } else if (c == '-' && at(i + 1) == '-') {
      while (i < text_.size() && text_[i] != '\n' && text_[i] != '\r') ++i;
    } else {
      return c == '\'' && newline ? i + 1 : npos;
    }
  }
  return npos;
}

std::size_t Lexer::past_postgres_string(std::size_t from, bool backslashes) const {
  for (;;) {
    const std::size_t end = past_quoted(from, '\'', backslashes);
    if (end == npos) return npos;
    const std::size_t more = continuation(end);
    if (more == npos) return end;
    from = more;
  }
}

std::size_t Lexer::past_nested_comment(std::size_t from) const {
  std::size_t depth = 1;
  for (std::size_t i = from; i + 1 < text_.size();) {
    if (text_[i] == '/' && text_[i + 1] == '*') {
      ++depth;
      i += 2;
    } else if (text_[i] == '*' && text_[i + 1] == '/') {
      i += 2;
      if (--depth == 0) return i;
    } else {
      ++i;
    }
  }
  return npos;
}

Token Lexer::next_postgres() {
  for (;;) {
    while (at_ < text_.size() && is_postgres_space(text_[at_])) ++at_;
    const std::size_t start = at_;
    if (start >= text_.size()) return {TokenKind::end, text_.size(), 0};
    const char c = text_[start];

    if (c == '-' && at(start + 1) == '-') {
      std::size_t i = start;
      while (i < text_.size() && text_[i] != '\n' && text_[i] != '\r') ++i;
      const Token comment = make(TokenKind::comment, start, i);
      if (comments_) return comment;
      continue;
    }
    if (c == '/' && at(start + 1) == '*') {
      const std::size_t end = past_nested_comment(start + 2);
      if (end == npos) return broken(LexProblem::unterminated_comment, start);
      const Token comment = make(TokenKind::comment, start, end);
      if (comments_) return comment;
      continue;
    }
    if (c == ';') return make(TokenKind::semicolon, start, start + 1);
    if (c == '\\') return make(TokenKind::backslash, start, start + 1);
    if (c == '\'') {
      const std::size_t end = past_postgres_string(start + 1, false);
      return end == npos ? broken(LexProblem::unterminated_string, start) : make(TokenKind::string, start, end);
    }
    if (c == '"') {
      const std::size_t end = past_quoted(start + 1, '"', false);
      return end == npos ? broken(LexProblem::unterminated_identifier, start)
                         : make(TokenKind::quoted_identifier, start, end);
    }
    if (c == '$') {
      if (is_digit(at(start + 1))) {
        std::size_t i = start + 1;
        while (is_digit(at(i))) ++i;
        return make(TokenKind::parameter, start, i);
      }
      std::size_t i = start + 1;
      if (starts_word(at(i))) {
        while (starts_word(at(i)) || is_digit(at(i))) ++i;
      }
      if (at(i) != '$') return make(TokenKind::other, start, start + 1);  // dolqfailed
      const std::string_view delimiter = text_.substr(start, i + 1 - start);
      const std::size_t end = text_.find(delimiter, i + 1);
      return end == npos ? broken(LexProblem::unterminated_dollar_quote, start)
                         : make(TokenKind::string, start, end + delimiter.size());
    }
    if (starts_word(c)) {
      const char next = at(start + 1);
      if (next == '\'' &&
          (c == 'e' || c == 'E' || c == 'b' || c == 'B' || c == 'x' || c == 'X' || c == 'n' || c == 'N')) {
        const std::size_t end = past_postgres_string(start + 2, c == 'e' || c == 'E');
        return end == npos ? broken(LexProblem::unterminated_string, start) : make(TokenKind::string, start, end);
      }
      if ((c == 'u' || c == 'U') && next == '&' && (at(start + 2) == '\'' || at(start + 2) == '"')) {
        const bool identifier = at(start + 2) == '"';
        const std::size_t end =
            identifier ? past_quoted(start + 3, '"', false) : past_postgres_string(start + 3, false);
        if (end == npos) {
          return broken(identifier ? LexProblem::unterminated_identifier : LexProblem::unterminated_string, start);
        }
        return make(identifier ? TokenKind::quoted_identifier : TokenKind::string, start, end);
      }
      std::size_t i = start + 1;
      while (i < text_.size() && continues_word(text_[i])) ++i;
      return make(TokenKind::word, start, i);
    }
    if (is_digit(c) || (c == '.' && is_digit(at(start + 1)))) {
      std::size_t i = start;
      while (is_digit(at(i)) || (at(i) == '.' && at(i + 1) != '.')) ++i;
      if ((at(i) == 'e' || at(i) == 'E') &&
          (is_digit(at(i + 1)) || ((at(i + 1) == '+' || at(i + 1) == '-') && is_digit(at(i + 2))))) {
        i += 2;
        while (is_digit(at(i))) ++i;
      }
      return make(TokenKind::number, start, i);
    }
    return make(TokenKind::other, start, start + 1);
  }
}

Token Lexer::next_sqlite() {
  for (;;) {
    // A byte order mark is a space wherever a token may begin.
    for (;;) {
      if (at_ < text_.size() && starts_sqlite_space(text_[at_])) {
        ++at_;
        while (at_ < text_.size() && continues_sqlite_space(text_[at_])) ++at_;
      } else if (text_.substr(at_, 3) == "\xEF\xBB\xBF") {
        at_ += 3;
      } else {
        break;
      }
    }
    const std::size_t start = at_;
    if (start >= text_.size()) return {TokenKind::end, text_.size(), 0};
    const char c = text_[start];

    if (c == '-' && at(start + 1) == '-') {
      std::size_t i = start;
      while (i < text_.size() && text_[i] != '\n') ++i;
      const Token comment = make(TokenKind::comment, start, i);
      if (comments_) return comment;
      continue;
    }
    // A slash and a star as the last two characters are two operators; an open comment otherwise ends with the text.
    if (c == '/' && at(start + 1) == '*' && start + 2 < text_.size()) {
      const std::size_t end = text_.find("*/", start + 2);
      const Token comment = make(TokenKind::comment, start, end == npos ? text_.size() : end + 2);
      if (comments_) return comment;
      continue;
    }
    if (c == ';') return make(TokenKind::semicolon, start, start + 1);
    if (c == '\'' || ((c == 'x' || c == 'X') && at(start + 1) == '\'')) {
      const std::size_t open = c == '\'' ? start : start + 1;
      const std::size_t end = past_quoted(open + 1, '\'', false);
      return end == npos ? broken(LexProblem::unterminated_string, start) : make(TokenKind::string, start, end);
    }
    if (c == '"' || c == '`') {
      const std::size_t end = past_quoted(start + 1, c, false);
      return end == npos ? broken(LexProblem::unterminated_identifier, start)
                         : make(TokenKind::quoted_identifier, start, end);
    }
    if (c == '[') {
      const std::size_t end = text_.find(']', start + 1);
      return end == npos ? broken(LexProblem::unterminated_identifier, start)
                         : make(TokenKind::quoted_identifier, start, end + 1);
    }
    if (c == '?') {
      std::size_t i = start + 1;
      while (is_digit(at(i))) ++i;
      return make(TokenKind::parameter, start, i);
    }
    if (c == '$' || c == '@' || c == ':' || c == '#') {
      // CC_VARALPHA and CC_DOLLAR: a name, in which "::" and one pair of parentheses (of Tcl) may stand.
      std::size_t i = start + 1;
      std::size_t letters = 0;
      while (i < text_.size()) {
        if (continues_word(text_[i])) {
          ++letters;
          ++i;
        } else if (text_[i] == '(' && letters > 0) {
          std::size_t close = i + 1;
          while (close < text_.size() && !continues_sqlite_space(text_[close]) && text_[close] != ')') ++close;
          if (at(close) == ')') i = close + 1;
          break;
        } else if (text_[i] == ':' && at(i + 1) == ':') {
          i += 2;
        } else {
          break;
        }
      }
      return letters > 0 ? make(TokenKind::parameter, start, i) : make(TokenKind::other, start, start + 1);
    }
    if (starts_word(c)) {
      std::size_t i = start + 1;
      while (i < text_.size() && continues_word(text_[i])) ++i;
      return make(TokenKind::word, start, i);
    }
    if (is_digit(c) || (c == '.' && is_digit(at(start + 1)))) {
      std::size_t i = start;
      while (is_digit(at(i)) || at(i) == '.') ++i;
      if ((at(i) == 'e' || at(i) == 'E') &&
          (is_digit(at(i + 1)) || ((at(i + 1) == '+' || at(i + 1) == '-') && is_digit(at(i + 2))))) {
        i += 2;
      }
      while (i < text_.size() && continues_word(text_[i])) ++i;
      return make(TokenKind::number, start, i);
    }
    return make(TokenKind::other, start, start + 1);
  }
}

}  // namespace gf::sql
