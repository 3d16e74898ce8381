// Fuzzes the parser of migration files: header, sections, variables, sums, in both dialects. An error names its place.
#include "broken.hpp"

#include "migrate/file.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

using gf::fuzz::broken;
using gf::sql::Dialect;

void check_file(std::string_view input) {
  const std::string once = gf::migrate::normalised(input);
  // One mark at the start is taken away; a second one is text, and would be the first the next time.
  const bool marked = once.starts_with("\xEF\xBB\xBF");
  if (!marked && gf::migrate::normalised(once) != once) broken("the normal form is not its own", input);
  const auto parsed = gf::migrate::parse_files({{"001_x.sql", std::string(input)}});
  if (!parsed) {
    if (!parsed.error().message.starts_with("001_x.sql:")) broken("an error names no place", input);
    return;
  }
  for (const auto dialect : {Dialect::sqlite, Dialect::postgresql}) {
    for (const auto& section : {parsed.value()[0].up(dialect, {}), parsed.value()[0].down(dialect, {}),
                                parsed.value()[0].verify(dialect, {})}) {
      if (section) {
        for (const auto& statement : section.value().statements) {
          (void)section.value().place_in(statement, statement.text.size());
          if (statement.offset > input.size()) broken("a statement lies behind the end of its file", input);
        }
      } else if (!section.error().message.starts_with("001_x.sql:")) {
        broken("an error of a section names no place", input);
      }
    }
    (void)parsed.value()[0].token_sum(dialect);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);
int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  check_file(std::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
