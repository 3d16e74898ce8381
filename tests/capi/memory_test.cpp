// Memory through the C ABI: budgets that are obeyed and given back for, reports, scopes.
#include "../support/soon.hpp"
#include "gameforge/gameforge.h"
#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

namespace {

using Json = nlohmann::json;
using gf::test::FakeModels;

/// An engine of two fake models of a million bytes each, and no budget left behind.
struct Engine {
  FakeModels models{{"first", R"({"weight_bytes": 1000000})"},
                    {"second", R"({"weight_bytes": 1000000, "activation_bytes": 300000})"}};
  gf_engine* handle = nullptr;

  Engine() {
    const char* folders[] = {models.folder().c_str()};
    gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
    options.model_folders = folders;
    options.model_folder_count = 1;
    options.backend_path = GAMEFORGE_FAKE_BACKEND;
    REQUIRE(gf_engine_open(&options, &handle) == GF_OK);
  }
  ~Engine() {
    CHECK(gf_engine_set_memory_budget(handle, 0, 0) == GF_OK);
    CHECK(gf_engine_close(handle, 10'000'000) == GF_OK);
  }
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  std::uint32_t load(const char* model) const {
    gf_job_id job;
    REQUIRE(gf_model_load_ahead(handle, model, 0, &job) == GF_OK);
    gf_job_info info = GF_JOB_INFO_INIT;
    REQUIRE(gf_job_wait(handle, &job, 30'000'000, &info) == GF_OK);
    return info.status;
  }
  std::uint32_t generate(const char* model) const {
    gf_request request = GF_REQUEST_INIT;
    request.model = model;
    request.prompt = "a tile";
    gf_job_id job;
    REQUIRE(gf_engine_submit(handle, &request, &job) == GF_OK);
    gf_job_info info = GF_JOB_INFO_INIT;
    REQUIRE(gf_job_wait(handle, &job, 30'000'000, &info) == GF_OK);
    return info.status;
  }
  gf_memory_report report() const {
    gf_memory_report out = GF_MEMORY_REPORT_INIT;
    REQUIRE(gf_engine_memory_report(handle, 0, &out) == GF_OK);
    return out;
  }
  Json json() const {
    return Json::parse(gf::test::text_of(
        [this](char* buffer, std::uint64_t* size) { return gf_engine_memory_json(handle, buffer, size); }));
  }
};

}  // namespace

TEST_CASE("a budget is obeyed: one model goes for the other, and what cannot fit is refused") {
  const Engine engine;
  REQUIRE(gf_engine_set_memory_budget(engine.handle, 0, 1'400'000) == GF_OK);
  CHECK(engine.load("first") == GF_OK);
  CHECK(engine.report().live_bytes == 1'000'000);
  CHECK(engine.report().limit_bytes <= 1'400'000);
  CHECK(engine.generate("second") == GF_OK);
  CHECK(engine.report().live_bytes == 1'000'000);
  CHECK(engine.report().over_bytes == 0);
  CHECK(engine.json().at("cache").at("evictions") == 1);
  REQUIRE(gf_engine_set_memory_budget(engine.handle, 0, 999'999) == GF_OK);
  CHECK(engine.load("first") == GF_ERR_OVER_BUDGET);
  CHECK(gf_engine_set_memory_budget(engine.handle, 1, 1) == GF_ERR_NOT_FOUND);
}

TEST_CASE("a budget that falls below what is held has idle models given back, with no job at work") {
  const Engine engine;
  REQUIRE(engine.load("first") == GF_OK);
  REQUIRE(engine.load("second") == GF_OK);
  REQUIRE(gf_engine_set_memory_budget(engine.handle, 0, 1'500'000) == GF_OK);
  CHECK(gf::test::soon([&] { return engine.report().live_bytes == 1'000'000; }));
  REQUIRE(gf_engine_set_memory_budget(engine.handle, 0, 1) == GF_OK);
  CHECK(gf::test::soon([&] { return engine.report().live_bytes == 0; }));
}

TEST_CASE("a request gives back what is idle and says how much; pinned models stay") {
  const Engine engine;
  REQUIRE(engine.load("first") == GF_OK);
  REQUIRE(engine.load("second") == GF_OK);
  REQUIRE(gf_model_pin(engine.handle, "second", 1) == GF_OK);
  std::uint64_t given = 7;
  CHECK(gf_engine_request_memory(engine.handle, 0, 5'000'000, 30'000'000, &given) == GF_OK);
  CHECK(given == 1'000'000);
  CHECK(engine.report().live_bytes == 1'000'000);
  CHECK(gf_engine_request_memory(engine.handle, 0, 1, 30'000'000, &given) == GF_OK);
  CHECK(given == 0);
  CHECK(gf_engine_request_memory(engine.handle, 3, 1, 0, &given) == GF_ERR_NOT_FOUND);
}

TEST_CASE("the report adds up, and the JSON splits it by model and stage") {
  const Engine engine;
  REQUIRE(engine.generate("second") == GF_OK);
  const auto report = engine.report();
  CHECK(report.total_bytes > 0);
  CHECK(report.free_bytes <= report.total_bytes);
  CHECK(report.live_bytes == 1'000'000);
  CHECK(report.held_bytes == 1'000'000);
  CHECK(report.peak_bytes >= 1'300'000);
  CHECK(report.pressure <= GF_MEMORY_PRESSURE_CRITICAL);
  CHECK(report.used_share > 0);
  const auto told = engine.json();
  const auto& device = told.at("devices").at(0);
  CHECK(device.at("live_bytes") == 1'000'000);
  const auto path = engine.models.folder() + "/second";
  bool found = false;
  for (const auto& model : device.at("models")) {
    if (model.at("name") != path) continue;
    found = true;
    CHECK(model.at("bytes").at("weights") == 1'000'000);
    CHECK(model.at("stages").at("loading").at("bytes") == 1'000'000);
    CHECK(model.at("stages").at("sampling").at("bytes") == 0);
    CHECK(model.at("stages").at("sampling").at("peak_bytes") == 300'000);
  }
  CHECK(found);
  CHECK(told.at("cache").at("loads") == 1);
  CHECK(told.at("ladder").at("climbs") == 0);
}

TEST_CASE("a scope has the growth and the peak of its time, enforces its limit, and ends once") {
  const Engine engine;
  std::uint64_t scope = 0;
  REQUIRE(gf_memory_scope_begin(engine.handle, 0, 0, &scope) == GF_OK);
  REQUIRE(engine.generate("second") == GF_OK);
  gf_memory_scope_report report = GF_MEMORY_SCOPE_REPORT_INIT;
  REQUIRE(gf_memory_scope_end(engine.handle, scope, &report) == GF_OK);
  CHECK(report.ended_bytes - report.begun_bytes == 1'000'000);
  CHECK(report.peak_bytes - report.begun_bytes == 1'300'000);
  CHECK(gf_memory_scope_end(engine.handle, scope, &report) == GF_ERR_WRONG_STATE);
  CHECK(gf_memory_scope_end(engine.handle, 0, nullptr) == GF_ERR_WRONG_STATE);
  CHECK(gf_memory_scope_end(engine.handle, ~std::uint64_t{0}, nullptr) == GF_ERR_WRONG_STATE);

  REQUIRE(gf_memory_scope_begin(engine.handle, 0, 999'999, &scope) == GF_OK);
  REQUIRE(gf_model_pin(engine.handle, "second", 1) == GF_OK);
  CHECK(engine.load("first") == GF_ERR_OVER_BUDGET);
  REQUIRE(gf_memory_scope_end(engine.handle, scope, nullptr) == GF_OK);
  CHECK(engine.load("first") == GF_OK);
  CHECK(gf_memory_scope_begin(engine.handle, 1, 0, &scope) == GF_ERR_NOT_FOUND);
  CHECK(scope == 0);
  std::uint64_t scopes[17] = {};
  for (int at = 0; at < 16; ++at) REQUIRE(gf_memory_scope_begin(engine.handle, 0, 0, &scopes[at]) == GF_OK);
  CHECK(gf_memory_scope_begin(engine.handle, 0, 0, &scopes[16]) == GF_ERR_QUEUE_FULL);
  for (int at = 0; at < 16; ++at) CHECK(gf_memory_scope_end(engine.handle, scopes[at], nullptr) == GF_OK);
}

TEST_CASE("two engines share the device: a budget and a request of one reach the models of the other") {
  const Engine first;
  const Engine second;
  REQUIRE(first.load("first") == GF_OK);
  REQUIRE(second.load("first") == GF_OK);
  CHECK(first.report().live_bytes == 2'000'000);
  REQUIRE(gf_engine_set_memory_budget(first.handle, 0, 2'000'000) == GF_OK);
  // Room is made among the idle models of both.
  CHECK(second.load("second") == GF_OK);
  CHECK(second.report().live_bytes == 2'000'000);
  std::uint64_t given = 0;
  REQUIRE(gf_engine_request_memory(first.handle, 0, 2'000'000, 30'000'000, &given) == GF_OK);
  CHECK(given == 2'000'000);
  CHECK(second.report().live_bytes == 0);
}

TEST_CASE("two engines under one budget that changes: every job ends, and no byte is held too many") {
  const Engine first;
  const Engine second;
  std::atomic<bool> stop{false};
  std::thread frames([&] {
    for (std::uint64_t frame = 0; !stop; ++frame) {
      gf_engine_set_memory_budget(first.handle, 0, frame % 2 == 0 ? 1'400'000 : 2'700'000);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  const auto work = [](const Engine& engine) {
    for (int round = 0; round < 40; ++round) {
      const auto status = engine.generate(round % 3 == 0 ? "first" : "second");
      CHECK((status == GF_OK || status == GF_ERR_OVER_BUDGET || status == GF_ERR_OUT_OF_DEVICE_MEMORY));
    }
  };
  std::uint64_t scope = 0;
  REQUIRE(gf_memory_scope_begin(first.handle, 0, 0, &scope) == GF_OK);
  std::thread other([&] { work(second); });
  work(first);
  other.join();
  stop = true;
  frames.join();
  gf_memory_scope_report report = GF_MEMORY_SCOPE_REPORT_INIT;
  REQUIRE(gf_memory_scope_end(first.handle, scope, &report) == GF_OK);
  CHECK(report.peak_bytes <= 2'700'000);
}

TEST_CASE("pressure events come only when they were asked for") {
  // A level cannot be brought about here without filling the machine: the monitor's own tests do, on a fake card.
  const Engine engine;
  CHECK(gf_engine_set_pressure_events(engine.handle, 1) == GF_OK);
  CHECK(gf_engine_set_pressure_events(engine.handle, 0) == GF_OK);
  REQUIRE(engine.load("first") == GF_OK);
  gf_event event = GF_EVENT_INIT;
  while (gf_engine_poll(engine.handle, &event) == GF_OK) CHECK(event.type != GF_EVENT_MEMORY_PRESSURE);
}
