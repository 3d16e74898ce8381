#include "error/log_record.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <limits>
#include <random>
#include <string>
#include <string_view>

using gf::LogLevel;
using gf::error::LogField;
using gf::error::LogRecord;
using gf::error::mask_secrets;

namespace {

std::string text_of(const LogRecord& record) {
  std::string out;
  append_text(out, record);
  return out;
}

std::string json_of(const LogRecord& record) {
  std::string out;
  append_json(out, record);
  return out;
}

std::string masked(std::string text) {
  mask_secrets(text);
  return text;
}

}  // namespace

TEST_CASE("golden: a record as text and as JSON") {
  const std::array<LogField, 6> fields = {{{"path", std::string_view("a b")},
                                           {"name", std::string_view("x\"y")},
                                           {"count", std::int64_t{-3}},
                                           {"bytes", std::numeric_limits<std::uint64_t>::max()},
                                           {"share", 0.5},
                                           {"cold", true}}};
  LogRecord record;
  record.level = LogLevel::warning;
  record.unix_us = 1'764'039'845'000'123;  // 2025-11-25T03:04:05, by date -u -d @1764039845.
  record.thread = 7;
  record.module = "torch";
  record.message = "slow";
  record.context.job = {0x0123456789abcdef, 0xfedcba9876543210};
  record.context.trace = {1, 2, 3, 0};
  record.fields = fields;
  CHECK(text_of(record) ==
        "2025-11-25T03:04:05.000123Z warning torch [7] slow path=\"a b\" name=\"x\\\"y\" count=-3 "
        "bytes=18446744073709551615 share=0.5 cold=true job=0123456789abcdeffedcba9876543210 "
        "trace=00000000000000010000000000000002 span=0000000000000003\n");
  const auto json = nlohmann::json::parse(json_of(record));
  CHECK(json.at("time") == "2025-11-25T03:04:05.000123Z");
  CHECK(json.at("level") == "warning");
  CHECK(json.at("fields").at("bytes") == std::numeric_limits<std::uint64_t>::max());
  CHECK(json.at("fields").at("share") == 0.5);
  CHECK(json.at("fields").at("name") == "x\"y");
  CHECK(json.at("trace_id") == "00000000000000010000000000000002");
  CHECK_FALSE(json.contains("dropped"));
}

TEST_CASE("times before 1970 and far ahead are dates too") {
  LogRecord record;
  record.unix_us = -1;
  CHECK(text_of(record).starts_with("1969-12-31T23:59:59.999999Z"));
  record.unix_us = 4'107'542'400'000'000;  // 2100-03-01: 2100 is no leap year.
  CHECK(text_of(record).starts_with("2100-03-01T00:00:00.000000Z"));
}

TEST_CASE("a newline, an escape or a broken byte in any text forges no line") {
  LogRecord record;
  record.module = "m\n";
  record.message = "one\ntwo\r\x1b[31m\x7f\xff\xc2\x85 \xe2\x80\xa8 \xe2\x80\xae ok \xc3\xa9";
  const std::array<LogField, 2> fields = {
      {{"k\n", std::string_view("v\nw")}, {"nan", std::numeric_limits<double>::quiet_NaN()}}};
  record.fields = fields;
  const auto text = text_of(record);
  CHECK(text.find('\n') == text.size() - 1);
  CHECK(text.find("one\\ntwo\\r\\x1b[31m\\x7f\\xff\\xc2\\x85 \\xe2\\x80\\xa8 \\xe2\\x80\\xae ok \xc3\xa9") !=
        std::string::npos);
  const auto json = json_of(record);
  CHECK(json.find('\n') == json.size() - 1);
  CHECK(nlohmann::json::parse(json).at("fields").at("nan") == "nan");
}

TEST_CASE("fuzz: lines in are records out, and each parses") {
  std::mt19937 random(11);
  for (int index = 0; index < 3000; ++index) {
    std::string message(random() % 60, ' ');
    for (auto& c : message) c = static_cast<char>(random() % 256);
    const std::array<LogField, 1> fields = {{{message, std::string_view(message)}}};
    LogRecord record;
    record.module = message;
    record.message = message;
    record.fields = fields;
    const auto json = json_of(record);
    REQUIRE(json.find('\n') == json.size() - 1);
    REQUIRE(nlohmann::json::parse(json).contains("message"));
    const auto text = text_of(record);
    REQUIRE(text.find('\n') == text.size() - 1);
    for (const char c : text.substr(0, text.size() - 1)) REQUIRE(static_cast<unsigned char>(c) >= 32);
    mask_secrets(message);
  }
}

TEST_CASE("passwords in URLs and after telling words are masked, and nothing else is") {
  CHECK(masked("redis://user:pa:ss@w0rd@host:6379/0 is gone") == "redis://user:***@host:6379/0 is gone");
  CHECK(masked("postgresql://a:b@c/d and rediss://:x@y") == "postgresql://a:***@c/d and rediss://:***@y");
  CHECK(masked("host=h password=geheim port=5") == "host=h password=*** port=5");
  CHECK(masked("PASSWORD: 'two words' x") == "PASSWORD: '***' x");
  CHECK(masked("{\"api_key\": \"abc\", \"n\": 1}") == "{\"api_key\": \"***\", \"n\": 1}");
  CHECK(masked("Authorization: Bearer abc.def, next") == "Authorization: Bearer ***, next");
  CHECK(masked("url?access_key=1&x=2") == "url?access_key=***&x=2");
  CHECK(masked("redis_password=x") == "redis_password=***");
  for (const std::string plain :
       {"http://host:80/a@b", "tokens: 75", "user@host", "a://b", "://", "password", "password=", "keyboard=x",
        "step 3: 5 of 8", "https://example.org/?q=a:b@c", "://@:"}) {
    CAPTURE(plain);
    CHECK(masked(plain) == plain);
  }
}
