#include "sql/parser.hpp"

#include <pg_query.h>

#include <algorithm>

namespace gf::sql {
namespace {

struct FreeSplit {
  PgQuerySplitResult result;
  explicit FreeSplit(PgQuerySplitResult split) : result(split) {}
  FreeSplit(const FreeSplit&) = delete;
  FreeSplit& operator=(const FreeSplit&) = delete;
  ~FreeSplit() { pg_query_free_split_result(result); }
};

}  // namespace

ParsedPostgres parse_postgres(std::string_view text) {
  ParsedPostgres parsed;
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    parsed.message = "a NUL byte";
    parsed.error_offset = nul;
    return parsed;
  }
  const std::string terminated(text);
  const FreeSplit split(pg_query_split_with_parser(terminated.c_str()));
  if (split.result.error != nullptr) {
    parsed.message = split.result.error->message != nullptr ? split.result.error->message : "syntax error";
    // cursorpos counts characters from 1; 0 means that the grammar gave no place.
    std::size_t left =
        split.result.error->cursorpos > 0 ? static_cast<std::size_t>(split.result.error->cursorpos - 1) : 0;
    std::size_t offset = 0;
    while (offset < text.size() && left > 0) {
      ++offset;
      while (offset < text.size() && (static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80) ++offset;
      --left;
    }
    parsed.error_offset = offset;
    return parsed;
  }
  auto& spans = parsed.spans.emplace();
  for (int i = 0; i < split.result.n_stmts; ++i) {
    const auto offset = static_cast<std::size_t>(std::max(split.result.stmts[i]->stmt_location, 0));
    auto length = static_cast<std::size_t>(std::max(split.result.stmts[i]->stmt_len, 0));
    // A length of 0 means: to the end of the text.
    if (length == 0 || offset + length > text.size()) length = text.size() - std::min(offset, text.size());
    spans.emplace_back(offset, length);
  }
  return parsed;
}

}  // namespace gf::sql
