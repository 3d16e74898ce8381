// The error aggregator and recovery strategies through the C ABI.
#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using gf::test::text_of;
using nlohmann::json;

namespace {

constexpr std::int64_t long_us = 30'000'000;
constexpr std::int64_t second_us = 1'000'000;
constexpr std::int64_t hour_us = 3600 * second_us;

class Aggregator {
 public:
  explicit Aggregator(const gf_aggregator_options* options = nullptr) {
    REQUIRE(gf_aggregator_open(options, &handle) == GF_OK);
  }
  ~Aggregator() { CHECK(gf_aggregator_close(handle) == GF_OK); }
  Aggregator(const Aggregator&) = delete;
  Aggregator& operator=(const Aggregator&) = delete;

  void record(const gf_error_report& report) const { REQUIRE(gf_aggregator_record(handle, &report) == GF_OK); }
  json top(std::int64_t window_us = hour_us, std::uint32_t count = 10) const {
    return json::parse(
        text_of([&](char* b, std::uint64_t* s) { return gf_aggregator_top_json(handle, window_us, count, b, s); }));
  }
  json report() const {
    return json::parse(text_of([&](char* b, std::uint64_t* s) { return gf_aggregator_report_json(handle, b, s); }));
  }
  /// null: there is none.
  json alert() const {
    std::uint64_t size = 0;
    if (gf_aggregator_poll_alert_json(handle, nullptr, &size) == GF_ERR_WOULD_BLOCK) return nullptr;
    return json::parse(text_of([&](char* b, std::uint64_t* s) { return gf_aggregator_poll_alert_json(handle, b, s); }));
  }

  gf_aggregator* handle = nullptr;
};

gf_error_report report_of(gf_status status, const char* place, const char* message) {
  gf_error_report report = GF_ERROR_REPORT_INIT;
  report.status = static_cast<std::uint32_t>(status);
  report.place = place;
  report.message = message;
  return report;
}

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

TEST_CASE("aggregator: status, place, causes and codes tell groups apart, numbers in texts do not") {
  const Aggregator aggregator;
  for (int index = 0; index < 30; ++index) {
    const auto message = "no answer from 10.0.0." + std::to_string(index) + " after " + std::to_string(index) + " ms";
    aggregator.record(report_of(GF_ERR_NETWORK, "matchmaking", message.c_str()));
    auto text = report_of(GF_OK, nullptr, message.c_str());
    text.module = "driver";
    aggregator.record(text);
  }
  auto other = report_of(GF_ERR_NETWORK, "inventory", "no answer");
  aggregator.record(other);
  other.foreign_domain = GF_FOREIGN_HTTP;
  other.foreign_number = 503;
  aggregator.record(other);
  other.foreign_number = 520;
  aggregator.record(other);
  const gf_error_cause causes[] = {{GF_ERR_IO, 0, 0, nullptr}};
  other.causes = causes;
  other.cause_count = 1;
  aggregator.record(other);
  const auto top = aggregator.top();
  REQUIRE(top.size() == 6);
  CHECK(top[0].at("total") == 30);
  CHECK(top[1].at("total") == 30);
  for (int index = 0; index < 2; ++index) {
    CHECK(top[static_cast<std::size_t>(index)].at("sample") == "no answer from 10.0.0.29 after 29 ms");
  }
  const auto titles = json::array({top[0].at("title"), top[1].at("title")});
  CHECK(std::count(titles.begin(), titles.end(), "network_error in matchmaking") == 1);
  CHECK(aggregator.top(hour_us, 2).size() == 2);
  const auto report = aggregator.report();
  CHECK(report.at("errors") == 64);
  CHECK(report.at("groups") == 6);
}

TEST_CASE("aggregator: severities, tags, versions and limits come through") {
  gf_aggregator_options options = GF_AGGREGATOR_OPTIONS_INIT;
  options.group_limit = 4;
  const Aggregator aggregator(&options);
  REQUIRE(gf_aggregator_set_version(aggregator.handle, "1.0") == GF_OK);
  for (int index = 0; index < 20; ++index) {
    auto report = report_of(GF_ERR_CORRUPT_FILE, "load", "bad file");
    report.model = "tiles";
    report.severity = GF_SEVERITY_FATAL;
    aggregator.record(report);
    auto spread = report_of(GF_ERR_TIMED_OUT, "wait", "late");
    const auto name = "model-" + std::to_string(index);
    spread.model = name.c_str();
    aggregator.record(spread);
  }
  REQUIRE(gf_aggregator_set_version(aggregator.handle, "1.1") == GF_OK);
  aggregator.record(report_of(GF_ERR_INTERNAL, "new", "never seen"));
  const auto patterns = aggregator.report().at("patterns");
  REQUIRE(patterns.at("tied").size() == 1);
  CHECK(patterns.at("tied")[0].at("value") == "tiles");
  REQUIRE(patterns.at("new_in_version").size() == 1);
  for (const auto& group : aggregator.top()) {
    if (group.at("status") == GF_ERR_CORRUPT_FILE) CHECK(group.at("by_severity") == json::array({0, 0, 0, 0, 20}));
    if (group.at("status") == GF_ERR_INTERNAL) CHECK(group.at("first_version") == "1.1");
  }
  for (int index = 0; index < 10; ++index) {
    aggregator.record(report_of(GF_ERR_IO, ("place " + std::to_string(index)).c_str(), "x"));
  }
  const auto report = aggregator.report();
  CHECK(report.at("groups") == 4);
  CHECK(report.at("evicted_groups") == 9);
}

TEST_CASE("aggregator: a spike is one alert that opens and one that resolves, and one that was not taken stays") {
  const Aggregator aggregator;
  // A past of two hours at one a minute, then 60 in three seconds, then the time before again.
  auto report = report_of(GF_ERR_REDIS, "queue", "gone");
  auto at_us = now_us();
  for (int minute = 0; minute < 120; ++minute) {
    report.unix_us = at_us += 60 * second_us;
    aggregator.record(report);
  }
  CHECK(aggregator.alert().is_null());
  for (int error = 0; error < 60; ++error) {
    report.unix_us = at_us += second_us / 20;
    aggregator.record(report);
  }
  std::uint64_t size = 0;
  REQUIRE(gf_aggregator_poll_alert_json(aggregator.handle, nullptr, &size) == GF_OK);
  std::vector<char> buffer(size);
  size = 1;
  CHECK(gf_aggregator_poll_alert_json(aggregator.handle, buffer.data(), &size) == GF_ERR_BUFFER_TOO_SMALL);
  const auto opened = aggregator.alert();
  CHECK(opened.at("what") == "opened");
  CHECK(opened.at("kind") == "fast");
  CHECK(opened.at("group").at("title") == "redis_error in queue");
  CHECK(opened.at("group").at("alarming") == true);
  CHECK(aggregator.alert().is_null());
  for (int minute = 0; minute < 120; ++minute) {
    report.unix_us = at_us += 60 * second_us;
    aggregator.record(report);
  }
  const auto resolved = aggregator.alert();
  REQUIRE(resolved.is_object());
  CHECK(resolved.at("what") == "resolved");
  CHECK(resolved.at("count").get<int>() >= 30);
  CHECK(aggregator.alert().is_null());
  // A report of the past does not turn the time back.
  report.unix_us = 1;
  aggregator.record(report);
  CHECK(aggregator.top()[0].at("last_us").get<std::int64_t>() == at_us);
}

TEST_CASE("aggregator: broken bytes and endless texts, from several threads") {
  const Aggregator aggregator;
  const std::string endless(1 << 20, '\xff');
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 4; ++writer) {
    threads.emplace_back([&] {
      for (int index = 0; index < 200; ++index) {
        auto report = report_of(index % 2 == 0 ? GF_OK : GF_ERR_IO, "a\nplace\xff", endless.c_str());
        report.module = endless.c_str();
        report.model = endless.c_str();
        if (gf_aggregator_record(aggregator.handle, &report) != GF_OK) FAIL_CHECK("refused");
      }
    });
  }
  for (int times = 0; times < 20; ++times) {
    aggregator.top();
    aggregator.report();
    aggregator.alert();
  }
  for (auto& thread : threads) thread.join();
  CHECK(aggregator.report().at("errors") == 800);
}

namespace {

struct Strategy {
  std::atomic<int> calls{0};
  std::atomic<std::uint32_t> answer{GF_RECOVERY_PASS};
  std::atomic<std::uint32_t> last_status{0};
  std::atomic<bool> throws{false};

  static std::uint32_t decide(void* self, const gf_failure* failure, std::int64_t* wait_us) {
    auto& strategy = *static_cast<Strategy*>(self);
    ++strategy.calls;
    strategy.last_status = failure->status;
    *wait_us = 100;
    if (std::string(failure->operation).empty() || std::string(failure->message).empty()) FAIL_CHECK("no words");
    if (strategy.throws) throw std::runtime_error("a host's own mistake");
    return strategy.answer;
  }
};

struct FaultyEngine {
  FaultyEngine() {
    const char* folder = models.folder().c_str();
    gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
    options.model_folders = &folder;
    options.model_folder_count = 1;
    options.backend_path = GAMEFORGE_FAKE_BACKEND;
    REQUIRE(gf_engine_open(&options, &engine) == GF_OK);
  }
  ~FaultyEngine() { CHECK(gf_engine_close(engine, long_us) == GF_OK); }
  FaultyEngine(const FaultyEngine&) = delete;
  FaultyEngine& operator=(const FaultyEngine&) = delete;

  std::uint32_t run(const char* model) const {
    gf_request request = GF_REQUEST_INIT;
    request.model = model;
    request.prompt = "x";
    request.steps = 1;
    request.width_px = request.height_px = 16;
    gf_job_id job;
    REQUIRE(gf_engine_submit(engine, &request, &job) == GF_OK);
    gf_job_info info = GF_JOB_INFO_INIT;
    REQUIRE(gf_job_wait(engine, &job, long_us, &info) == GF_OK);
    return info.status;
  }
  gf_status add(Strategy& strategy, const char* name, std::uint32_t status, const char* category = nullptr) const {
    gf_recovery_strategy added = GF_RECOVERY_STRATEGY_INIT;
    added.name = name;
    added.status = status;
    added.category = category;
    added.callback = Strategy::decide;
    added.user_data = &strategy;
    return gf_engine_add_strategy(engine, &added);
  }
  json counts(const char* name) const {
    return json::parse(text_of([&](char* b, std::uint64_t* s) { return gf_engine_statistics_json(engine, b, s); }))
        .at("recovery")
        .at("strategies")
        .at(name);
  }

  const gf::test::FakeModels models{
      {"buggy", R"({"fail_stage": "step", "fail_status": 901})"},
      {"offline", R"({"fail_stage": "step", "fail_status": 502})"},
      {"lost", R"({"fail_stage": "decode", "fail_status": 503})"},
  };
  gf_engine* engine = nullptr;
};

}  // namespace

TEST_CASE("strategies: the host's are asked from the narrow to the wide, and may retry, abort or pass") {
  const FaultyEngine faulty;
  Strategy wide;
  Strategy network;
  Strategy internal;
  REQUIRE(faulty.add(wide, "wide", GF_OK) == GF_OK);
  REQUIRE(faulty.add(network, "network", GF_OK, "network") == GF_OK);
  REQUIRE(faulty.add(internal, "internal", GF_ERR_INTERNAL) == GF_OK);
  CHECK(faulty.add(wide, "wide", GF_OK) == GF_ERR_ALREADY_EXISTS);
  CHECK(faulty.add(wide, "retry", GF_OK) == GF_ERR_ALREADY_EXISTS);  // The library's own.

  // What nobody mends is asked of all that fit, and ends as it was.
  CHECK(faulty.run("buggy") == GF_ERR_INTERNAL);
  CHECK(internal.calls == 1);
  CHECK(wide.calls == 1);
  CHECK(network.calls == 0);
  // Four runs in all: after the last the strategy is asked, but it is over.
  internal.answer = GF_RECOVERY_RETRY;
  CHECK(faulty.run("buggy") == GF_ERR_INTERNAL);
  CHECK(internal.calls == 1 + 4);
  CHECK(wide.calls == 1);
  CHECK(faulty.counts("internal").at("tried") == 4);
  // A host that knows better ends what the library would try again.
  network.answer = GF_RECOVERY_ABORT;
  CHECK(faulty.run("offline") == GF_ERR_NETWORK);
  CHECK(network.calls == 1);
  CHECK(network.last_status == GF_ERR_NETWORK);
  CHECK(wide.calls == 1);
}

TEST_CASE("strategies: one that throws or answers nonsense is passed over, and one that was taken away is not asked") {
  const FaultyEngine faulty;
  Strategy strategy;
  strategy.throws = true;
  REQUIRE(faulty.add(strategy, "mine", GF_ERR_INTERNAL) == GF_OK);
  CHECK(faulty.run("buggy") == GF_ERR_INTERNAL);
  strategy.throws = false;
  strategy.answer = 77;
  CHECK(faulty.run("buggy") == GF_ERR_INTERNAL);
  CHECK(strategy.calls == 2);
  CHECK(gf_engine_remove_strategy(faulty.engine, "mine") == GF_OK);
  CHECK(gf_engine_remove_strategy(faulty.engine, "mine") == GF_ERR_NOT_FOUND);
  CHECK(gf_engine_remove_strategy(faulty.engine, "retry") == GF_ERR_NOT_FOUND);
  CHECK(faulty.run("buggy") == GF_ERR_INTERNAL);
  CHECK(strategy.calls == 2);
  REQUIRE(faulty.add(strategy, "mine", GF_ERR_INTERNAL) == GF_OK);  // The name is free again.
}
