// Shared breakers and the error store through the C ABI, on a real Redis server. What they do is the room's to test:
// here is tested that all of it can be reached, and comes out as it went in.
#include "support.hpp"

#include "gameforge/gameforge.h"
#include "queue/redis_server.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

using gf::test::TextCall;
using nlohmann::json;

namespace {

gf::test::RedisServer& redis() {
  static gf::test::RedisServer one;
  return one;
}

bool wait_for(const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// A process's side: its own breaker, shared.
struct Side {
  explicit Side(const char* name, std::uint32_t quorum = 1) {
    const auto url = redis().url();
    gf_shared_breakers_options options = GF_SHARED_BREAKERS_OPTIONS_INIT;
    options.redis_url = url.c_str();
    options.quorum = quorum;
    options.command_timeout_us = 20'000'000;
    options.log_callback = [](void* told, const gf_log_record*, const char* module, const char*) {
      if (std::strcmp(module, "breakers") == 0) ++*static_cast<std::atomic<int>*>(told);
    };
    options.log_user_data = &lines;
    options.log_level = GF_LOG_INFO;
    REQUIRE(gf_shared_breakers_open(&options, &shared) == GF_OK);
    gf_breaker_options of = GF_BREAKER_OPTIONS_INIT;
    of.open_us = 100'000;
    REQUIRE(gf_breaker_open(&of, &breaker) == GF_OK);
    REQUIRE(gf_shared_breakers_share(shared, breaker, name, 20'000'000) == GF_OK);
  }
  ~Side() {
    CHECK(gf_shared_breakers_close(shared, 20'000'000) == GF_OK);
    CHECK(gf_breaker_close(breaker) == GF_OK);
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  gf_status call(gf_status ends) const {
    gf_breaker_permit permit;
    const auto allowed = gf_breaker_allow(breaker, &permit, nullptr);
    if (allowed == GF_OK) gf_breaker_report(breaker, &permit, ends, 0);
    return allowed;
  }
  std::uint32_t state() const {
    gf_breaker_info info = GF_BREAKER_INFO_INIT;
    REQUIRE(gf_breaker_describe(breaker, &info) == GF_OK);
    return info.state;
  }
  json look(const char* name) const {
    return json::parse(
        gf::test::text_of([&](char* b, std::uint64_t* s) { return gf_shared_breakers_json(shared, name, b, s); }));
  }

  std::atomic<int> lines{0};
  gf_shared_breakers* shared = nullptr;
  gf_breaker* breaker = nullptr;
};

void check_text(const std::string& name, const TextCall& call) {
  CAPTURE(name);
  std::uint64_t needed = 0;
  REQUIRE(call(nullptr, &needed) == GF_OK);
  REQUIRE(needed >= 2);
  char one = 'x';
  std::uint64_t size = 1;
  CHECK(call(&one, &size) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(size > 1);
  CHECK(one == 'x');
  std::vector<char> buffer(needed + 1000, 'x');
  size = buffer.size();
  REQUIRE(call(buffer.data(), &size) == GF_OK);
  REQUIRE(size <= buffer.size());
  CHECK(std::strlen(buffer.data()) == size - 1);
  CHECK(json::accept(buffer.data()));
  CHECK(call(buffer.data(), nullptr) == GF_ERR_INVALID_ARGUMENT);
}

}  // namespace

TEST_CASE("shared breakers: what one finds out the other hears, probes close it for both, and force is for all") {
  const Side one("store");
  const Side other("store");
  CHECK(gf_shared_breakers_share(other.shared, other.breaker, "again", 0) == GF_ERR_ALREADY_EXISTS);
  for (int call = 0; call < 5; ++call) CHECK(one.call(GF_ERR_NETWORK) == GF_OK);
  CHECK(wait_for([&] { return other.state() != GF_BREAKER_CLOSED; }));
  CHECK(wait_for([&] {
    other.call(GF_OK);
    return other.state() == GF_BREAKER_CLOSED;
  }));
  CHECK(wait_for([&] { return one.state() == GF_BREAKER_CLOSED; }));
  CHECK(gf_shared_breakers_flush(one.shared, 20'000'000) == GF_OK);
  const auto now = other.look("store");
  CHECK(now.at("state") == "closed");
  CHECK(now.at("reason") == "probes_succeeded");
  CHECK(now.at("failures").get<int>() >= 5);
  CHECK(now.at("link").at("linked") == true);
  CHECK(other.lines > 0);
  REQUIRE(gf_shared_breakers_force(one.shared, "store", GF_BREAKER_FORCED_OPEN, 60'000'000, "ann") == GF_OK);
  CHECK(wait_for([&] { return other.state() == GF_BREAKER_FORCED_OPEN; }));
  CHECK(other.look("store").at("by") == "ann");
  REQUIRE(gf_shared_breakers_force(one.shared, "store", GF_BREAKER_CLOSED, 0, "ann") == GF_OK);
  CHECK(wait_for([&] { return other.state() == GF_BREAKER_CLOSED; }));
}

TEST_CASE("shared breakers: one of two that are needed opens its own alone") {
  const Side one("quorum", 2);
  const Side other("quorum", 2);
  for (int call = 0; call < 5; ++call) CHECK(one.call(GF_ERR_NETWORK) == GF_OK);
  CHECK(one.state() == GF_BREAKER_OPEN);
  CHECK(gf_shared_breakers_flush(one.shared, 20'000'000) == GF_OK);
  CHECK(gf_shared_breakers_flush(other.shared, 20'000'000) == GF_OK);
  CHECK(other.state() == GF_BREAKER_CLOSED);
  CHECK(other.look("quorum").at("votes") == 1);
}

TEST_CASE("shared breakers: either handle may be closed first") {
  const auto url = redis().url();
  gf_shared_breakers_options options = GF_SHARED_BREAKERS_OPTIONS_INIT;
  options.redis_url = url.c_str();
  for (const bool breaker_first : {false, true}) {
    gf_shared_breakers* shared = nullptr;
    gf_breaker* breaker = nullptr;
    REQUIRE(gf_shared_breakers_open(&options, &shared) == GF_OK);
    REQUIRE(gf_breaker_open(nullptr, &breaker) == GF_OK);
    REQUIRE(gf_shared_breakers_share(shared, breaker, "short", 0) == GF_OK);
    if (breaker_first) CHECK(gf_breaker_close(breaker) == GF_OK);
    CHECK(gf_shared_breakers_close(shared, 1'000'000) == GF_OK);
    gf_breaker_permit permit;
    if (breaker_first) continue;
    CHECK(gf_breaker_allow(breaker, &permit, nullptr) == GF_OK);
    for (int call = 0; call < 5; ++call) CHECK(gf_breaker_report(breaker, &permit, GF_ERR_NETWORK, 0) == GF_OK);
    CHECK(gf_breaker_allow(breaker, &permit, nullptr) == GF_ERR_BREAKER_OPEN);
    CHECK(gf_breaker_close(breaker) == GF_OK);
  }
}

TEST_CASE(
    "error store: what is handed over comes out in groups, alone and in the tail, and every text keeps the rules") {
  const auto url = redis().url();
  gf_error_store_options options = GF_ERROR_STORE_OPTIONS_INIT;
  options.redis_url = url.c_str();
  options.name_space = "abi";
  options.process = "one";
  options.command_timeout_us = 20'000'000;
  gf_error_store* store = nullptr;
  REQUIRE(gf_error_store_open(&options, &store) == GF_OK);
  const char* const keys[] = {"asset", "token"};
  const char* const values[] = {"potion.png", "hunter2"};
  const gf_error_cause cause = {GF_ERR_DISK_FULL, GF_FOREIGN_SYSTEM, 28, "no space"};
  gf_error_report report = GF_ERROR_REPORT_INIT;
  report.status = GF_ERR_IO;
  report.place = "Assets::store";
  report.module = "assets";
  report.user = "ann";
  report.context_keys = keys;
  report.context_values = values;
  report.context_count = 2;
  report.causes = &cause;
  report.cause_count = 1;
  for (int index = 0; index < 3; ++index) {
    const auto message = "asset " + std::to_string(index) + " was not stored";
    report.message = message.c_str();
    REQUIRE(gf_error_store_record(store, &report) == GF_OK);
  }
  report.place = "Assets::load";  // Another group.
  report.message = "other";
  report.severity = GF_SEVERITY_FATAL;
  REQUIRE(gf_error_store_record(store, &report) == GF_OK);
  gf_error_report text = GF_ERROR_REPORT_INIT;
  text.message = "driver said 17";
  text.module = "driver";
  REQUIRE(gf_error_store_record(store, &text) == GF_OK);
  REQUIRE(gf_error_store_flush(store, 20'000'000) == GF_OK);

  const std::map<std::string, TextCall> calls = {
      {"gf_error_store_top_json",
       [=](char* b, std::uint64_t* s) { return gf_error_store_top_json(store, 3600'000'000, 10, b, s); }},
      {"gf_error_store_tail_json",
       [=](char* b, std::uint64_t* s) { return gf_error_store_tail_json(store, nullptr, 10, 0, b, s); }},
      {"gf_error_store_statistics_json",
       [=](char* b, std::uint64_t* s) { return gf_error_store_statistics_json(store, b, s); }},
  };
  for (const auto& [name, call] : calls) check_text(name, call);
  const auto top = json::parse(gf::test::text_of(calls.at("gf_error_store_top_json")));
  CHECK(top.at("errors") == 5);
  REQUIRE(top.at("groups").size() == 3);
  CHECK(top.at("groups")[0].at("total") == 3);
  CHECK(top.at("groups")[0].at("title") == "io_error in Assets::store");
  const auto fingerprint = top.at("groups")[0].at("fingerprint").get<std::string>();
  const TextCall show = [&](char* b, std::uint64_t* s) {
    return gf_error_store_show_json(store, fingerprint.c_str(), b, s);
  };
  check_text("gf_error_store_show_json", show);
  const auto sample = json::parse(gf::test::text_of(show)).at("sample");
  CHECK(sample.at("message") == "asset 2 was not stored");
  CHECK(sample.at("causes")[0].at("foreign").at("number") == 28);
  CHECK(sample.at("context").at("asset") == "potion.png");
  CHECK(sample.at("context").at("token") == "***");
  CHECK(sample.at("user") == "ann");
  CHECK(sample.at("module") == "assets");
  std::uint64_t size = 0;
  CHECK(gf_error_store_show_json(store, "123", nullptr, &size) == GF_ERR_NOT_FOUND);
  const auto tail = json::parse(gf::test::text_of(calls.at("gf_error_store_tail_json")));
  CHECK(tail.at("errors").size() == 5);
  CHECK(tail.at("errors")[3].at("error").at("severity") == "fatal");
  CHECK(gf_error_store_close(store, 20'000'000) == GF_OK);
  CHECK(gf_error_store_record(store, &text) == GF_ERR_INVALID_HANDLE);

  const Side side("texts");
  check_text("gf_shared_breakers_json",
             [&](char* b, std::uint64_t* s) { return gf_shared_breakers_json(side.shared, "texts", b, s); });
}
