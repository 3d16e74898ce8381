// gameforge_sql_vectors FILE: splits every input of a file of golden vectors and compares; fails if one differs.
#include "sql/statements.hpp"

#include "base/files.hpp"
#include "base/json.hpp"

#include <cstdio>
#include <string>

namespace {

std::string shown(const gf::Json& value) { return gf::to_text(value); }

gf::Json actual(const gf::Json& vector) {
  const std::string input = vector.at("input");
  const bool sqlite = vector.at("dialect") == "sqlite";
  const auto split = gf::sql::split(input, sqlite ? gf::sql::Dialect::sqlite : gf::sql::Dialect::postgresql);
  gf::Json out;
  if (split.error) {
    out["error"] = {
        {"kind", split.error->kind}, {"line", split.error->place.line}, {"column", split.error->place.column}};
    return out;
  }
  out["statements"] = gf::Json::array();
  for (const auto& statement : split.statements) {
    out["statements"].push_back({{"text", statement.text},
                                 {"line", statement.place.line},
                                 {"column", statement.place.column},
                                 {"offset", statement.offset}});
  }
  return out;
}

int run(const std::string& path) {
  const auto text = gf::read_text(path, std::uint64_t{1} << 30);
  if (!text) {
    std::fprintf(stderr, "%s\n", text.error().message.c_str());
    return 5;
  }
  const auto vectors = gf::parse_json(text.value(), path);
  if (!vectors) {
    std::fprintf(stderr, "%s\n", vectors.error().message.c_str());
    return 4;
  }
  std::size_t differing = 0;
  for (const auto& vector : *vectors.value()) {
    gf::Json expected;
    if (vector.contains("error")) {
      expected["error"] = vector.at("error");
      expected["error"].erase("server_says");
    } else {
      expected["statements"] = vector.at("statements");
    }
    const auto found = actual(vector);
    if (found == expected) continue;
    ++differing;
    std::printf("%s (%s): expected %s, found %s\n", vector.at("name").get<std::string>().c_str(),
                vector.at("dialect").get<std::string>().c_str(), shown(expected).c_str(), shown(found).c_str());
  }
  std::printf("%zu vectors, %zu differ\n", vectors.value()->size(), differing);
  return differing == 0 && !vectors.value()->empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: gameforge_sql_vectors FILE\n");
    return 2;
  }
  try {
    return run(argv[1]);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s is not a file of vectors: %s\n", argv[1], e.what());
    return 4;
  }
}
