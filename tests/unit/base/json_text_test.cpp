#include "base/json_text.hpp"

#include "base/json.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

using gf::JsonText;

TEST_CASE("objects and arrays nest, with commas where they belong") {
  JsonText out;
  out.begin_object().key("a").number(std::int64_t{-1}).key("b").begin_array();
  out.text("x").truth(true).begin_object().end_object().begin_array().end_array().end_array();
  out.key("c").json("{\"d\":null}").key("e").number(std::numeric_limits<std::uint64_t>::max()).end_object();
  CHECK(out.str() == R"({"a":-1,"b":["x",true,{},[]],"c":{"d":null},"e":18446744073709551615})");
}

TEST_CASE("a member is written as its type has it, and null where there is nothing") {
  JsonText out;
  out.begin_object().member("t", "x").member("b", false).member("u", std::uint8_t{200}).member("i", std::int16_t{-3});
  out.member("d", 7.0).member("f", 0.1F).member("none", std::optional<std::string>());
  out.member("list", std::vector<std::string>{"p", "q"});
  out.member("some", std::optional<std::string>("y")).text_or_null("e", "").text_or_null("g", "z").end_object();
  CHECK(
      out.str() ==
      R"({"t":"x","b":false,"u":200,"i":-3,"d":7.0,"f":0.10000000149011612,"none":null,"list":["p","q"],"some":"y","e":null,"g":"z"})");
}

TEST_CASE("property: a finite number reads back as itself, and another is null") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 20000; ++round) {
    const auto value = std::bit_cast<double>(random());
    const auto text = JsonText().number(value).str();
    CAPTURE(text);
    if (!std::isfinite(value)) {
      CHECK(text == "null");
      continue;
    }
    const auto read = gf::parse_json(text, "number");
    REQUIRE(read.has_value());
    CHECK(read.value()->is_number_float());
    CHECK(read.value()->get<double>() == value);
  }
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
    if (valid) CHECK(read.value()->at(text) == text);
  }
}
