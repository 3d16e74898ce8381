#include "base/json.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using gf::Json;
using gf::parse_json;
using gf::Status;

namespace {

/// The refusal's message, after checking that it is one.
std::string refusal(std::string_view text, const gf::JsonLimits& limits = {}) {
  const auto parsed = parse_json(text, "some.json", limits);
  REQUIRE(parsed.has_error());
  CHECK(parsed.error().status == Status::corrupt_file);
  CHECK(parsed.error().message.starts_with("some.json: "));
  return parsed.error().message;
}

}  // namespace

TEST_CASE("every kind of value arrives") {
  const auto json =
      parse_json(R"( {"a": [1, -2, 2.5, true, null, "x\u00e9"], "b": {}, "big": 18446744073709551615} )", "f");
  REQUIRE(json.has_value());
  const auto& a = json.value()->at("a");
  CHECK(a.at(0).get<int>() == 1);
  CHECK(a.at(1).get<int>() == -2);
  CHECK(a.at(2).get<double>() == 2.5);
  CHECK(a.at(3).get<bool>());
  CHECK(a.at(4).is_null());
  CHECK(a.at(5).get<std::string>() == "x\xC3\xA9");
  CHECK(json.value()->at("b").empty());
  CHECK(json.value()->at("big").get<std::uint64_t>() == 18446744073709551615u);
  CHECK(parse_json("7", "f").value()->get<int>() == 7);
}

TEST_CASE("containers nested in arrays stay in their places") {
  // Growing an array moves its elements; a builder that keeps their addresses would write into freed memory.
  std::string text = "[";
  for (int i = 0; i < 1000; ++i) text += "[" + std::to_string(i) + ",{\"k\":[" + std::to_string(i) + "]}],";
  text += "0]";
  const auto parsed = parse_json(text, "f");
  const auto& json = *parsed.value();
  REQUIRE(json.size() == 1001);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(json.at(i).at(0).get<int>() == i);
    REQUIRE(json.at(i).at(1).at("k").at(0).get<int>() == i);
  }
  CHECK(json == Json::parse(text));
}

TEST_CASE("a byte order mark at the start is skipped, in the middle it is not JSON") {
  CHECK(parse_json("\xEF\xBB\xBF{\"a\": 1}", "f").value()->at("a").get<int>() == 1);
  refusal("{\"a\": \xEF\xBB\xBF 1}");
}

TEST_CASE("a key that is there twice is refused by name, also far apart and deep inside") {
  CHECK(refusal(R"({"scale": 1, "scale": 2})").find("\"scale\"") != std::string::npos);
  CHECK(refusal(R"([{"x": {"k": 1, "other": [1, 2, {}], "k": 2}}])").find("twice") != std::string::npos);
  // The same key written in two ways is still the same key.
  refusal(R"({"a": 1, "\u0061": 2})");
  CHECK(parse_json(R"([{"a": 1}, {"a": 2}])", "f").has_value());
}

TEST_CASE("the depth limit is exact, and a hundred thousand levels end in a refusal") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(parse_json(nested(64), "f").has_value());
  CHECK(refusal(nested(65)).find("64 levels") != std::string::npos);
  CHECK(parse_json(nested(3), "f", {.depth = 3}).has_value());
  refusal(nested(4), {.depth = 3});
  refusal(nested(100'000));
  refusal(std::string(100'000, '['));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  refusal(objects);
}

TEST_CASE("the number of values is bounded, containers included") {
  CHECK(parse_json("[1,2]", "f", {.values = 3}).has_value());
  CHECK(refusal("[1,2,3]", {.values = 3}).find("more than 3 values") != std::string::npos);
  refusal("[[],[],[]]", {.values = 3});
}

TEST_CASE("text that is not JSON is refused with its place") {
  CHECK(refusal("{\"a\": }").find("line 1") != std::string::npos);
  CHECK(refusal("{\"a\": 1}\n\nx").find("line 3") != std::string::npos);
  for (const std::string_view text : {"", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "'a'", "nul", "01", "1.", "+1",
                                      "NaN", "Infinity", "[1]]", "\"\x01\"", "\"\\ud800\"", "// c\n1", "1 2"}) {
    CAPTURE(text);
    refusal(text);
  }
  refusal(std::string_view("[1]\0", 4));
}

TEST_CASE("a number past what a double holds is refused, not infinite") { refusal("[1e999]"); }

TEST_CASE("text that is not UTF-8 is refused") {
  for (const std::string_view text :
       {"\"\xFF\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "\"\xF5\x80\x80\x80\"", "\"\xC3\"", "{\"\x80\": 1}"}) {
    CAPTURE(text.size());
    refusal(text);
  }
}

TEST_CASE("writing never throws for what came from outside") {
  Json json;
  json["k"] =
      "a\xFF"
      "b";
  CHECK(gf::to_text(json) ==
        "{\"k\":\"a\xEF\xBF\xBD"
        "b\"}");
  CHECK(gf::to_text(Json{{"a", 1}}, 2) == "{\n  \"a\": 1\n}");
}
