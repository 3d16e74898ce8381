#include "base/json_text.hpp"

#include "base/json.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <string>

using gf::JsonText;

TEST_CASE("objects and arrays nest, with commas where they belong") {
  JsonText out;
  out.begin_object().key("a").number(std::int64_t{-1}).key("b").begin_array();
  out.text("x").truth(true).begin_object().end_object().begin_array().end_array().end_array();
  out.key("c").json("{\"d\":null}").key("e").number(std::numeric_limits<std::uint64_t>::max()).end_object();
  CHECK(out.str() == R"({"a":-1,"b":["x",true,{},[]],"c":{"d":null},"e":18446744073709551615})");
}

TEST_CASE("golden: escapes of RFC 8259, section 7, and U+FFFD for what is no UTF-8") {
  const auto written = [](std::string_view text) { return JsonText().text(text).str(); };
  CHECK(written("") == R"("")");
  CHECK(written("a \"b\" \\ /") == R"("a \"b\" \\ /")");
  CHECK(written("line\nnext\ttab") == R"("line\nnext\u0009tab")");
  CHECK(written(std::string_view("\0\x1f", 2)) == R"("\u0000\u001f")");
  CHECK(written("\xC3\xBC \xF0\x9F\xA7\xAA") == "\"\xC3\xBC \xF0\x9F\xA7\xAA\"");
  CHECK(written("a\xFFz\xC3") == "\"a\xEF\xBF\xBDz\xEF\xBF\xBD\"");
}

TEST_CASE("property: any bytes give a document that the parser reads, and valid text comes back as it was") {
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    CAPTURE(round);
    std::string text;
    const bool valid = round % 2 == 0;
    for (int index = static_cast<int>(random() % 20); index > 0; --index) {
      text += static_cast<char>(valid ? random() % 128 : random() % 256);
    }
    const auto read = gf::parse_json(JsonText().begin_object().key(text).text(text).end_object().str(), "written");
    REQUIRE(read.has_value());
    if (valid) CHECK(read.value().at(text) == text);
  }
}
