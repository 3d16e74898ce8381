#include "base/utf8.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// Every code point of well-formed text.
std::vector<char32_t> decoded(std::string_view text) {
  std::vector<char32_t> points;
  std::size_t position = 0;
  while (position < text.size()) {
    const auto point = gf::next_code_point(text, position);
    REQUIRE(point.has_value());
    points.push_back(*point);
  }
  return points;
}

}  // namespace

TEST_CASE("golden: one character of each length, and the bounds between them") {
  CHECK(decoded("a\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF") ==
        std::vector<char32_t>{0x61, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF});
}

TEST_CASE("property: every scalar value goes there and back") {
  std::string text;
  for (char32_t point = 0; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    text.clear();
    gf::append_utf8(text, point);
    std::size_t position = 0;
    REQUIRE(gf::next_code_point(text, position) == point);
    REQUIRE(position == text.size());
  }
}

TEST_CASE("property: of all three-byte texts exactly those of table 3-7 are well-formed") {
  // The table of Unicode 15 written as a second, independent decision: decode loosely, then ask whether the shortest
  // form of the value is the same bytes and the value is a scalar.
  std::size_t well_formed = 0;
  for (std::uint32_t bytes = 0; bytes < 0x1000000; bytes += 1) {
    if ((bytes >> 16) < 0xE0 || (bytes >> 16) > 0xEF) {
      bytes |= 0xFFFF;  // Only the starts of three-byte sequences are looked at here.
      continue;
    }
    const char text[3] = {static_cast<char>(bytes >> 16), static_cast<char>(bytes >> 8), static_cast<char>(bytes)};
    const bool continues = (bytes & 0xC0C0) == 0x8080;
    const std::uint32_t value = ((bytes >> 16) & 0xF) << 12 | ((bytes >> 8) & 0x3F) << 6 | (bytes & 0x3F);
    const bool expected = continues && value >= 0x800 && !(value >= 0xD800 && value <= 0xDFFF);
    const bool accepted = !gf::first_invalid_utf8(std::string_view(text, 3)).has_value();
    if (accepted != expected) {
      CAPTURE(bytes);
      REQUIRE(accepted == expected);
    }
    well_formed += accepted;
  }
  CHECK(well_formed == 0x10000 - 0x800 - 0x800);
}

TEST_CASE("what is not well-formed is found at its first byte, and the position stays") {
  struct Row {
    std::string_view text;
    std::size_t bad;
  };
  const std::vector<Row> rows = {
      {"\x80", 0},
      {"a\xC0\x80", 1},
      {"ab\xC1\xBF", 2},
      {"\xE0\x9F\xBF", 0},
      {"\xED\xA0\x80", 0},
      {"\xF0\x8F\xBF\xBF", 0},
      {"\xF4\x90\x80\x80", 0},
      {"\xF5\x80\x80\x80", 0},
      {"\xFF", 0},
      {"x\xC3", 1},
      {"\xE2\x82", 0},
      {"\xF0\x9F\x98", 0},
      {"\xC3\x28", 0},
      {"\xE2\x28\xA1", 0},
  };
  for (const auto& row : rows) {
    CAPTURE(row.bad);
    CAPTURE(row.text.size());
    CHECK(gf::first_invalid_utf8(row.text) == row.bad);
    auto position = row.bad;
    CHECK_FALSE(gf::next_code_point(row.text, position).has_value());
    CHECK(position == row.bad);
  }
  CHECK_FALSE(gf::first_invalid_utf8("").has_value());
  CHECK_FALSE(gf::first_invalid_utf8(std::string_view("\0", 1)).has_value());
  std::size_t end = 3;
  CHECK_FALSE(gf::next_code_point("abc", end).has_value());
}

TEST_CASE("text from outside is shown in quotes, on one line, short and valid") {
  CHECK(gf::shown("potion") == "\"potion\"");
  CHECK(gf::shown("") == "\"\"");
  CHECK(gf::shown("a\nb\r\x1B[31m\x7F\xC2\x85"
                  "c") == "\"a?b??[31m??c\"");
  CHECK(gf::shown("a\xFF\xC3") == "\"a??\"");
  CHECK(gf::shown("\xC3\xA9") == "\"\xC3\xA9\"");
  for (const std::size_t length : {119u, 120u, 121u, 100'000u}) {
    CAPTURE(length);
    const auto text = gf::shown(std::string(length, 'x'));
    CHECK(text.size() <= 130);
    CHECK(text.ends_with("...\"") == (length >= 120));
  }
  // A cut never falls inside a character.
  std::string wide;
  for (int i = 0; i < 200; ++i) wide += "\xF0\x9F\x98\x80";
  CHECK_FALSE(gf::first_invalid_utf8(gf::shown(wide)).has_value());
}
