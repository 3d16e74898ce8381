// Fuzzes the scanner and the splitter, in both dialects: what is cut out lies in the text, is split into itself, and on
// PostgreSQL lies where libpg_query cuts.
#include "broken.hpp"

#include "sql/parser.hpp"
#include "sql/statements.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

using gf::fuzz::broken;
using gf::sql::Dialect;

void check_split(std::string_view input, Dialect dialect) {
  const auto split = gf::sql::split(input, dialect);
  std::size_t after = 0;
  for (const auto& statement : split.statements) {
    if (statement.offset < after || statement.text.empty()) broken("statements overlap", input);
    if (statement.text.data() != input.data() + statement.offset) broken("a statement is no part of the text", input);
    after = statement.offset + statement.text.size();
    if (after > input.size()) broken("a statement passes the end", input);
    if (statement.place.line == 0 || statement.place.column == 0) broken("a place is 0", input);
  }
  if (split.error && split.error->offset > input.size()) broken("an error lies behind the end", input);
  // What is cut out is split into itself.
  for (const auto& statement : split.statements) {
    if (split.error) break;
    // At the head of a text, and only there, it is no part of the first word.
    if (statement.text.starts_with("\xEF\xBB\xBF")) continue;
    const auto again = gf::sql::split(statement.text, dialect);
    if (again.error || again.statements.size() != 1 || again.statements[0].text != statement.text) {
      broken("a statement is not split into itself", input);
    }
  }
  if (dialect != Dialect::postgresql || split.error || input.find('\0') != std::string_view::npos) return;
  const std::size_t start = input.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  const auto parsed = gf::sql::parse_postgres(input.substr(start));
  if (!parsed.spans) return;
  // The grammar accepts it: then its cuts are ours.
  std::vector<std::size_t> offsets;
  for (const auto& [offset, length] : *parsed.spans) {
    gf::sql::Lexer lexer(input.substr(0, start + offset + length), dialect, start + offset);
    auto token = lexer.next();
    while (token.kind == gf::sql::TokenKind::semicolon) token = lexer.next();
    if (token.kind != gf::sql::TokenKind::end) offsets.push_back(token.offset);
  }
  if (offsets.size() != split.statements.size()) broken("the grammar counts other statements", input);
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    if (offsets[i] != split.statements[i].offset) broken("the grammar cuts elsewhere", input);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);
int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  check_split(input, Dialect::sqlite);
  check_split(input, Dialect::postgresql);
  return 0;
}
