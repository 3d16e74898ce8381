// gameforge.hpp: that its objects keep what they own, and its errors what the ABI said.
#include "gameforge/gameforge.hpp"

#include "support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using gf::test::FakeModels;

namespace {

constexpr std::chrono::seconds long_time(120);

gameforge::Options options_for(const FakeModels& models) {
  gameforge::Options options;
  options.model_folders = {models.folder()};
  options.backend_path = GAMEFORGE_FAKE_BACKEND;
  return options;
}

gameforge::Request request_for(const std::string& model) {
  gameforge::Request request;
  request.model = model;
  request.prompt = "a blue shield";
  request.width_px = 32;
  request.height_px = 32;
  request.steps = 3;
  return request;
}

}  // namespace

TEST_CASE("hpp: a request gives an image, its PNG and its recipe; copies are shares that outlive the engine") {
  const FakeModels models({{"fake", "{}"}});
  gameforge::Image kept;
  CHECK_FALSE(static_cast<bool>(kept));
  std::vector<std::uint8_t> png;
  {
    gameforge::Engine engine(options_for(models));
    auto request = request_for("fake");
    request.keep_latents = true;
    const auto job = engine.submit(request);
    CHECK(gameforge::JobId::parse(job.text()) == job);
    gf_job_info info;
    REQUIRE(engine.wait(job, long_time, &info));
    CHECK(info.state == GF_JOB_DONE);
    CHECK(engine.status(job).images_ready == 1);
    const auto image = engine.image(job, 0);
    kept = image;
    CHECK(kept.handle() != image.handle());
    CHECK(kept.pixels() == image.pixels());
    CHECK(engine.parameters_text(job, 0).find("a blue shield") != std::string::npos);
    CHECK(engine.report_json(job).find("a blue shield") != std::string::npos);
    CHECK(engine.error_json(job) == "{}");
    CHECK_FALSE(engine.latents(job, 0).empty());
    png = image.png(engine.parameters_text(job, 0));
    gf_event event;
    int events = 0;
    while (engine.poll(event)) ++events;
    CHECK(events >= 3);
    CHECK_FALSE(engine.wait_event(event, std::chrono::milliseconds(1)));
    engine.forget(job);
    CHECK(engine.statistics_json().front() == '{');
    engine.set_memory_budget(0, 0);
    engine.set_pressure_events(true);
    engine.set_pressure_events(false);
    CHECK(engine.request_memory(0, 0, std::chrono::seconds(30)) == 0);
    CHECK(engine.memory_report(0).total_bytes > 0);
    CHECK(engine.memory_json().front() == '{');
    CHECK(engine.model_list_json().find("fake") != std::string::npos);
  }
  CHECK(kept.width_px() == 32);
  CHECK(png.size() > 100);
  const auto large = kept.upscale(2);
  CHECK(large.width_px() == 64);
  CHECK(gameforge::Image::grid({kept, large}, 2).width_px() == 128);
  auto moved = std::move(kept);
  CHECK(moved.height_px() == 32);
  CHECK(moved.key_background().height_px() == 32);
  gf::test::TemporaryFolder folder;
  moved.write_png(folder / "x.png", gameforge::Text("made by a test"));
  CHECK(gf::test::file_text(folder / "x.png").find("made by a test") != std::string::npos);
}

TEST_CASE("hpp: an error carries status, message and hint") {
  const FakeModels models(
      {{"broken", R"({"fail_stage": "step", "fail_status": 407, "fail_message": "it \"broke\""})"}});
  gameforge::Engine engine(options_for(models));
  auto request = request_for("broken");
  request.cfg_scale = -3;
  try {
    engine.submit(request);
    FAIL_CHECK("it was not thrown");
  } catch (const gameforge::Error& error) {
    CHECK(error.status() == GF_ERR_INVALID_ARGUMENT);
    CHECK(std::string(error.name()) == "invalid_argument");
    CHECK(std::string(error.what()).find("cfg_scale") != std::string::npos);
    CHECK_FALSE(error.hint().empty());
    CHECK_FALSE(error.retryable());
  }
  request.cfg_scale = 0;
  const auto job = engine.submit(request);
  try {
    engine.wait(job, long_time);
    FAIL_CHECK("it was not thrown");
  } catch (const gameforge::Error& error) {
    CHECK(error.status() == GF_ERR_NOT_FINITE);
    CHECK(std::string(error.what()).find("it \"broke\"") != std::string::npos);
  }
  CHECK_THROWS_AS(engine.image(job, 0), gameforge::Error);
  CHECK_THROWS_AS(gameforge::JobId::parse("?"), gameforge::Error);
}

TEST_CASE("hpp: the member of a JSON object is found at its own depth, and escapes are undone") {
  using gameforge::detail::json_member;
  const std::string json =
      R"({"causes":[{"message":"inner","name":"x"}],"hint":"message","message":"a \"b\"\n\u0001 \\ { [ ü","n":1})";
  CHECK(json_member(json, "message") == "a \"b\"\n\x01 \\ { [ \xC3\xBC");
  CHECK(json_member(json, "hint") == "message");
  CHECK(json_member(json, "name").empty());
  CHECK(json_member("{}", "message").empty());
  CHECK(json_member("", "message").empty());
}

TEST_CASE("hpp: callbacks are kept as long as they may be called, and what they throw ends there") {
  const FakeModels models({{"slow", R"({"step_us": 1000, "log": true})"}});
  std::atomic<int> events{0};
  std::atomic<int> lines{0};
  auto options = options_for(models);
  options.log_level = GF_LOG_DEBUG;
  options.on_event = [&events](const gf_event&) {
    ++events;
    throw std::runtime_error("no");
  };
  options.on_log = [&lines](const gf_log_record&, const char*, const char*) {
    ++lines;
    throw std::runtime_error("no");
  };
  gameforge::Engine engine(options);
  gameforge::Engine moved(std::move(engine));
  options = gameforge::Options();
  const auto job = moved.submit(request_for("slow"));
  REQUIRE(moved.wait(job, long_time));
  CHECK(moved.close(long_time));
  CHECK(events >= 3);
  CHECK(lines >= 1);
  CHECK(moved.close(long_time));  // Closed already: nothing to do.
}

TEST_CASE("hpp: log lines are polled as text") {
  const FakeModels models({{"fake", "{}"}});
  auto options = options_for(models);
  options.log_level = GF_LOG_DEBUG;
  gameforge::Engine engine(options);
  REQUIRE(engine.wait(engine.submit(request_for("fake")), long_time));
  gf_log_record record;
  std::string line;
  int lines = 0;
  while (engine.poll_log(record, line)) {
    CHECK(line.find('\t') != std::string::npos);
    CHECK(line.find('\0') == std::string::npos);
    ++lines;
  }
  CHECK(lines >= 1);
}

TEST_CASE("hpp: a configuration is applied over options") {
  gf::test::TemporaryFolder folder;
  gf::test::write_file(folder / "e.toml", "executor_count = 3\nmodel_folders = [\"/m\"]\n");
  const auto config = gameforge::Config::load(folder / "e.toml", false);
  gameforge::Options options;
  options.thread_count = 2;
  options.backend_path = "/b.so";
  config.apply(options);
  CHECK(options.executor_count == 3);
  CHECK(options.thread_count == 2);
  CHECK(options.model_folders == std::vector<std::string>{"/m"});
  CHECK(options.backend_path.value() == "/b.so");
  CHECK(config.json().find("executor_count") != std::string::npos);
  CHECK_THROWS_AS(gameforge::Config::load(folder / "missing.toml", false), gameforge::Error);
}

TEST_CASE("hpp: users, rates, priorities and keys reach the engine") {
  const FakeModels models({{"fake", "{}"}});
  auto options = options_for(models);
  options.user_submit_rate = {1, 1, 3600'000'000};
  options.user_class_names = {"paying"};
  options.user_class_rates = {{1, 2, 3600'000'000}};
  options.reserved_for_high = 1;
  gameforge::Engine engine(options);
  auto request = request_for("fake");
  request.user = "ann";
  request.user_class = "paying";
  request.priority = GF_PRIORITY_HIGH;
  request.idempotency_key = "k";
  const auto first = engine.submit(request);
  CHECK(engine.submit(request) == first);
  request.idempotency_key = gameforge::Text();
  REQUIRE(engine.wait(first, long_time));
  REQUIRE(engine.wait(engine.submit(request), long_time));
  CHECK(engine.report_json(first).find("\"priority\":\"high\"") != std::string::npos);
  const auto third = engine.submit(request);
  try {
    engine.wait(third, long_time);
    FAIL("it ran");
  } catch (const gameforge::Error& error) {
    CHECK(error.status() == GF_ERR_RATE_LIMITED);
  }
  gf_event event;
  std::int64_t wait_us = 0;
  while (engine.poll(event)) wait_us = std::max(wait_us, event.retry_after_us);
  CHECK(wait_us > 3000'000'000);
}

TEST_CASE("hpp: a logger with arguments, fields, a ring to poll, a file and a function") {
  const gf::test::TemporaryFolder folder;
  std::vector<std::string> heard;
  gameforge::LoggerOptions options;
  options.more.poll_lines = 16;
  options.file_path = folder / "game.log";
  options.on_line = [&heard](const gf_log_record&, const char* module, const char* message) {
    heard.push_back(std::string(module) + ": " + message);
    throw std::runtime_error("the host's own");
  };
  gameforge::Logger logger(options);
  logger.log(GF_LOG_INFO, "game", "plain");
  logger.log(GF_LOG_WARNING, "game", "{} of {}: {} {}", {1, 2u, "text", true}, {{"share", 0.5}, {"token", "geheim"}},
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  REQUIRE(logger.flush(long_time));
  const std::string rest =
      "1 of 2: text true share=0.5 token=*** trace=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7";
  gf_log_record record;
  std::string line;
  REQUIRE(logger.poll(record, line));
  CHECK(line == "game\tplain");
  gameforge::Logger moved(std::move(logger));
  REQUIRE(moved.poll(record, line));
  CHECK(line == "game\t" + rest);
  CHECK(record.level == GF_LOG_WARNING);
  CHECK_FALSE(moved.poll(record, line));
  CHECK(moved.statistics().written == 2);
  CHECK_THROWS_AS(moved.log(GF_LOG_INFO, "m", "x", {}, {}, "no trace"), gameforge::Error);
  CHECK(moved.close(long_time));
  CHECK(heard == std::vector<std::string>{"game: plain", "game: " + rest});
  CHECK(gf::test::file_text(folder / "game.log").find(rest) != std::string::npos);
}

TEST_CASE("hpp: errors are grouped and alerts polled; strategies decide, and what they throw passes") {
  gameforge::ErrorAggregator errors;
  gf_error_report report = GF_ERROR_REPORT_INIT;
  report.status = GF_ERR_IO;
  report.place = "save";
  report.message = "disk";
  errors.set_version("1");
  errors.record(report);
  CHECK(errors.top_json(std::chrono::minutes(1), 5).find("io_error in save") != std::string::npos);
  CHECK(errors.report_json().find("\"errors\":1") != std::string::npos);
  std::string alert;
  CHECK_FALSE(errors.poll_alert_json(alert));

  const FakeModels models({{"buggy", R"({"fail_stage": "step", "fail_status": 901})"}});
  gameforge::Engine engine(options_for(models));
  std::atomic<int> calls{0};
  engine.add_strategy(
      "mine",
      [&calls](const gf_failure& failure, std::chrono::microseconds& wait) {
        ++calls;
        wait = std::chrono::microseconds(100);
        if (failure.failures > 1) throw std::runtime_error("the host's own");
        return GF_RECOVERY_RETRY;
      },
      GF_ERR_INTERNAL);
  CHECK_THROWS_AS(engine.add_strategy("mine", nullptr), gameforge::Error);
  CHECK_THROWS_AS(engine.wait(engine.submit(request_for("buggy")), long_time), gameforge::Error);
  CHECK(calls == 2);
  engine.remove_strategy("mine");
  CHECK_THROWS_AS(engine.wait(engine.submit(request_for("buggy")), long_time), gameforge::Error);
  CHECK(calls == 2);
}

TEST_CASE("hpp: assets are made of images, and their places and colours come as vectors") {
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < 8 * 8; ++i) {
    const bool inside = i % 8 >= 2 && i % 8 < 6 && i / 8 >= 2 && i / 8 < 6;
    for (const int value : {inside ? 200 : 0, 30, 30, 255}) pixels.push_back(static_cast<std::uint8_t>(value));
  }
  const auto image = gameforge::Image::create(8, 8, pixels.data());
  std::uint32_t key = 0;
  const auto sprite = image.cut_sprite(nullptr, &key);
  CHECK(key == 0x001E1E);
  CHECK(sprite.pixels()[3] == 0);
  gf_pixelate_options options = GF_PIXELATE_OPTIONS_INIT;
  options.cell_px = 2;
  const auto art = sprite.pixelate(options);
  CHECK(art.width_px() == 4);
  CHECK(gameforge::Image::palette({image, sprite}, 4) == std::vector<std::uint32_t>{0x001E1E, 0xC81E1E});
  std::vector<gf_sheet_frame> frames;
  const auto sheet = gameforge::Image::pack({image, art}, nullptr, &frames);
  REQUIRE(frames.size() == 2);
  CHECK(frames[1].width_px == 4);
  CHECK(sheet.width_px() >= 8);
  CHECK(image.normal_map().width_px() == 8);
  CHECK(image.seam_score().x == image.seam_score().y);
  CHECK_THROWS_AS(image.pixelate({}), gameforge::Error);  // No struct_size.
}
