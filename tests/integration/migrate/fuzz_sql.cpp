// Fuzzes what reads migration files: the scanner, the splitter and the file parser. Built with clang's
// -fsanitize=fuzzer it is that fuzzer's target; alone it makes its own inputs: gameforge_fuzz_sql [ROUNDS] [SEED]
// [CORPUS.json].
#include "migrate/file.hpp"
#include "sql/parser.hpp"
#include "sql/statements.hpp"

#include "base/files.hpp"
#include "base/json.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using gf::sql::Dialect;

[[noreturn]] void broken(const char* what, std::string_view input) {
  std::fprintf(stderr, "%s\n--- input, %zu bytes\n%.*s\n---\n", what, input.size(), static_cast<int>(input.size()),
               input.data());
  std::abort();
}

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

void check_all(std::string_view input) {
  check_split(input, Dialect::sqlite);
  check_split(input, Dialect::postgresql);
  check_file(input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);
int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  check_all(std::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}

#ifndef GAMEFORGE_LIBFUZZER
namespace {

const std::vector<std::string> pieces = {"'",
                                         "''",
                                         "\"",
                                         "$$",
                                         "$a$",
                                         "$1",
                                         "E'",
                                         "U&'",
                                         "x'",
                                         "\\",
                                         "\\'",
                                         ";",
                                         ";\n",
                                         "--",
                                         "-- x\n",
                                         "/*",
                                         "*/",
                                         "(",
                                         ")",
                                         "[",
                                         "]",
                                         "`",
                                         "begin",
                                         "begin atomic",
                                         "end",
                                         "case",
                                         "as end",
                                         ".end",
                                         "create function f()",
                                         "create trigger r after insert on t begin",
                                         "create rule r as on insert to t do also (",
                                         "select 1",
                                         "select",
                                         "copy t from stdin",
                                         "\n-- gameforge: up\n",
                                         "\n-- gameforge: down\n",
                                         "\n-- gameforge: up sqlite\n",
                                         "-- depends: 1\n",
                                         "-- variables: a = b\n",
                                         "${a}",
                                         "\r\n",
                                         "\r",
                                         "\t",
                                         "\xEF\xBB\xBF",
                                         "\xC3\xBC",
                                         "\xF0\x9F\x8E\xAE",
                                         "\xFF",
                                         std::string(1, '\0'),
                                         " ",
                                         "0x1",
                                         "1e5",
                                         "::",
                                         "@a",
                                         "$a(;)",
                                         "language sql",
                                         "returns int",
                                         "returns text as"};

std::string mutated(std::mt19937& random, const std::vector<std::string>& corpus) {
  std::string text = corpus[random() % corpus.size()];
  const auto changes = random() % 6;
  for (std::uint32_t i = 0; i < changes; ++i) {
    const std::size_t at = text.empty() ? 0 : random() % (text.size() + 1);
    switch (random() % 5) {
      case 0:
        text.insert(at, pieces[random() % pieces.size()]);
        break;
      case 1:
        text.erase(at, random() % 8);
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(random() % 256));
        break;
      case 3:
        text.insert(at, corpus[random() % corpus.size()]);
        break;
      default:
        text.resize(at);
        break;
    }
    if (text.size() > 4000) text.resize(4000);
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  const long rounds = argc > 1 ? std::atol(argv[1]) : 20000;
  const auto seed = static_cast<std::uint32_t>(argc > 2 ? std::atol(argv[2]) : 1);
  std::vector<std::string> corpus = pieces;
  if (argc > 3) {
    const auto text = gf::read_text(argv[3], std::uint64_t{1} << 30);
    const auto vectors = text ? gf::parse_json(text.value(), argv[3]) : gf::Result<gf::JsonDocument>(text.error());
    if (!vectors) {
      std::fprintf(stderr, "%s\n", vectors.error().message.c_str());
      return 2;
    }
    for (const auto& vector : *vectors.value()) corpus.push_back(vector.at("input").get<std::string>());
  }
  std::mt19937 random(seed);
  for (const auto& text : corpus) check_all(text);
  for (long round = 0; round < rounds; ++round) check_all(mutated(random, corpus));
  std::printf("%ld inputs, seed %u: nothing broke\n", rounds, seed);
  return 0;
}
#endif
