// Every allocation of a call fails once: the call answers with a status, gives nothing, leaks nothing and works again.
#include "allocation.hpp"
#include "support.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

using gf::test::FailingAllocation;

namespace {

/// Calls until no allocation is left to fail; `call` undoes its own success. Gives the number of failures.
int fail_each_allocation(const std::function<gf_status()>& call) {
  for (long fail_at = 1; fail_at < 20000; ++fail_at) {
    gf_status status;
    bool failed;
    {
      const FailingAllocation failing(fail_at);
      status = call();
      failed = failing.failed();
    }
    if (!failed) {
      CHECK(status == GF_OK);
      return static_cast<int>(fail_at - 1);
    }
    // A call may also do without what it could not have.
    CHECK((status == GF_ERR_OUT_OF_HOST_MEMORY || status == GF_OK));
    if (status != GF_OK) {
      CHECK(gf_last_error_status() == GF_ERR_OUT_OF_HOST_MEMORY);
      CHECK(std::string(gf_last_error_message()).size() > 5);
    }
  }
  FAIL("it never ran out of allocations");
  return 0;
}

}  // namespace

TEST_CASE("images: each failing allocation is out of host memory, and nothing is left behind") {
  std::vector<std::uint8_t> pixels(4 * 8 * 8, 77);
  for (std::size_t index = 0; index < pixels.size(); index += 7) pixels[index] = static_cast<std::uint8_t>(index);
  gf_image* image = nullptr;
  REQUIRE(gf_image_create(8, 8, 32, pixels.data(), &image) == GF_OK);

  const auto gives_image = [](const std::function<gf_status(gf_image**)>& call) {
    return [call] {
      gf_image* made = nullptr;
      const auto status = call(&made);
      if ((status == GF_OK) != (made != nullptr)) return GF_ERR_INTERNAL;
      gf_image_release(made);
      return status;
    };
  };
  CHECK(fail_each_allocation(
            gives_image([&](gf_image** made) { return gf_image_create(8, 8, 32, pixels.data(), made); })) >= 2);
  CHECK(fail_each_allocation(gives_image([&](gf_image** made) { return gf_image_upscale(image, 3, made); })) >= 2);
  CHECK(fail_each_allocation(
            gives_image([&](gf_image** made) { return gf_image_key_background(image, nullptr, made); })) >= 2);
  CHECK(fail_each_allocation(gives_image([&](gf_image** made) {
          gf_image* const both[2] = {image, image};
          return gf_image_grid(both, 2, 2, 1, 0, made);
        })) >= 2);
  CHECK(fail_each_allocation([&] {
          std::uint64_t size = 0;
          return gf_image_encode_png(image, nullptr, nullptr, &size);
        }) >= 1);
  CHECK(fail_each_allocation(
            gives_image([&](gf_image** made) { return gf_image_cut_sprite(image, nullptr, made, nullptr); })) >= 5);
  gf_pixelate_options art = GF_PIXELATE_OPTIONS_INIT;
  art.cell_px = 2;
  art.colour_count = 3;
  art.dither = GF_DITHER_FLOYD_STEINBERG;
  CHECK(fail_each_allocation(gives_image([&](gf_image** made) { return gf_image_pixelate(image, &art, made); })) >= 5);
  CHECK(fail_each_allocation(gives_image([&](gf_image** made) { return gf_image_normal_map(image, nullptr, made); })) >=
        2);
  gf_sheet_frame frames[2] = {};
  CHECK(fail_each_allocation(gives_image([&](gf_image** made) {
          gf_image* const both[2] = {image, image};
          gf_sheet_options sheet = GF_SHEET_OPTIONS_INIT;
          sheet.merge_duplicates = 1;
          return gf_image_pack(both, 2, &sheet, made, frames);
        })) >= 5);
  CHECK(fail_each_allocation([&] {
          const char* const names[2] = {"a name that is longer than a small string", "another such name, long enough"};
          gf_atlas_options atlas = GF_ATLAS_OPTIONS_INIT;
          atlas.names = names;
          std::uint64_t size = 0;
          return gf_atlas_json(frames, 2, 8, 8, &atlas, nullptr, &size);
        }) >= 4);
  CHECK(fail_each_allocation([&] {
          std::uint64_t count = 0;
          return gf_palette_find(&image, 1, 2, nullptr, &count);
        }) >= 4);
  CHECK(fail_each_allocation([&] {
          std::uint64_t count = 0;
          return gf_palette_parse("ff0000\n00ff00\n", 14, nullptr, &count);
        }) >= 1);
  CHECK(fail_each_allocation([&] {
          gf_png_options png = GF_PNG_OPTIONS_INIT;
          png.indexed = 1;
          std::uint64_t size = 0;
          return gf_image_encode_png(image, &png, nullptr, &size);
        }) >= 4);
  gf::test::TemporaryFolder folder;
  const auto path = folder / "tile.png";
  CHECK(fail_each_allocation([&] { return gf_image_write_png(image, nullptr, path.c_str()); }) >= 1);
  CHECK(gf_image_release(image) == GF_OK);
}

TEST_CASE("a table of handles that must grow and cannot holds nothing") {
  const std::uint8_t pixel[4] = {};
  std::vector<gf_image*> held;
  // Past the sizes at which both of its vectors grow.
  for (int round = 0; round < 200; ++round) {
    gf_image* made = nullptr;
    {
      const FailingAllocation failing(1 + round % 6);
      gf_image_create(1, 1, 4, pixel, &made);
    }
    if (made != nullptr) held.push_back(made);
    REQUIRE(gf_image_create(1, 1, 4, pixel, &made) == GF_OK);
    held.push_back(made);
  }
  for (auto* image : held) CHECK(gf_image_release(image) == GF_OK);
}

TEST_CASE("configuration, versions and texts") {
  gf::test::TemporaryFolder folder;
  const auto path = folder / "engine.toml";
  gf::test::write_file(path, "model_folders = [\"a folder whose name is longer than a small string\", \"b\"]\n");
  CHECK(fail_each_allocation([&] {
          gf_config* config = nullptr;
          const auto status = gf_config_load(path.c_str(), 0, &config);
          gf_config_release(config);
          return status;
        }) >= 5);
  gf_config* config = nullptr;
  REQUIRE(gf_config_load(path.c_str(), 0, &config) == GF_OK);
  CHECK(fail_each_allocation([&] {
          std::uint64_t size = 0;
          return gf_config_json(config, nullptr, &size);
        }) >= 2);
  gf_config_release(config);
  CHECK(fail_each_allocation([&] {
          std::uint64_t size = 0;
          return gf_version_json(nullptr, &size);
        }) >= 2);
}

TEST_CASE("the last error's JSON without memory leaves the last error") {
  REQUIRE(gf_image_release(reinterpret_cast<gf_image*>(1)) == GF_ERR_INVALID_HANDLE);
  for (long fail_at = 1;; ++fail_at) {
    gf_status status;
    bool failed;
    std::uint64_t size = 0;
    {
      const FailingAllocation failing(fail_at);
      status = gf_last_error_json(nullptr, &size);
      failed = failing.failed();
    }
    CHECK(gf_last_error_status() == GF_ERR_INVALID_HANDLE);
    if (!failed) {
      CHECK(status == GF_OK);
      CHECK(fail_at > 3);
      break;
    }
    CHECK(status == GF_ERR_OUT_OF_HOST_MEMORY);
  }
}

TEST_CASE("an engine is opened whole or not at all") {
  const char* folder = "/a/folder/whose/name/is/longer/than/a/small/string";
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  options.model_folders = &folder;
  options.model_folder_count = 1;
  options.executor_count = 3;
  CHECK(fail_each_allocation([&] {
          gf_engine* engine = nullptr;
          const auto status = gf_engine_open(&options, &engine);
          if ((status == GF_OK) != (engine != nullptr)) return GF_ERR_INTERNAL;
          const auto closed = gf_engine_close(engine, 30'000'000);
          if (status == GF_OK && closed != GF_OK && closed != GF_ERR_OUT_OF_HOST_MEMORY) return closed;
          if (status == GF_OK && closed == GF_ERR_OUT_OF_HOST_MEMORY) gf_engine_close(engine, 30'000'000);
          return status;
        }) >= 5);
}

TEST_CASE("a submit without memory has taken nothing, and the next one works") {
  gf_engine* engine = nullptr;
  REQUIRE(gf_engine_open(nullptr, &engine) == GF_OK);
  gf_request request = GF_REQUEST_INIT;
  request.model = "a model whose name is longer than a small string";
  request.prompt = "a prompt that is longer than a small string";
  request.negative_prompt = "another text that is longer than a small string";
  CHECK(fail_each_allocation([&] {
          gf_job_id job = {0, 0};
          const auto status = gf_engine_submit(engine, &request, &job);
          if ((status == GF_OK) != (job.high != 0)) return GF_ERR_INTERNAL;
          return status;
        }) >= 3);
  gf_job_id job;
  REQUIRE(gf_engine_submit(engine, &request, &job) == GF_OK);
  gf_job_info info = GF_JOB_INFO_INIT;
  REQUIRE(gf_job_wait(engine, &job, 30'000'000, &info) == GF_OK);
  CHECK(info.status == GF_ERR_NOT_FOUND);
  CHECK(fail_each_allocation([&] {
          std::uint64_t size = 0;
          return gf_job_error_json(engine, &job, nullptr, &size);
        }) >= 2);
  CHECK(gf_engine_close(engine, 30'000'000) == GF_OK);
}

TEST_CASE("every text about models, jobs and the engine: without memory it is not given, and nothing ends the host") {
  const gf::test::FakeModels models{{"fake", "{}"}};
  const char* folder = models.folder().c_str();
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  options.model_folders = &folder;
  options.model_folder_count = 1;
  options.backend_path = GAMEFORGE_FAKE_BACKEND;
  gf_engine* engine = nullptr;
  REQUIRE(gf_engine_open(&options, &engine) == GF_OK);
  gf_request request = GF_REQUEST_INIT;
  request.model = "fake";
  request.prompt = "a prompt that is longer than a small string";
  request.image_count = 2;
  gf_job_id job;
  REQUIRE(gf_engine_submit(engine, &request, &job) == GF_OK);
  gf_job_info info = GF_JOB_INFO_INIT;
  REQUIRE(gf_job_wait(engine, &job, 30'000'000, &info) == GF_OK);
  REQUIRE(info.status == GF_OK);

  const std::pair<const char*, gf::test::TextCall> calls[] = {
      {"gf_engine_statistics_json", [&](char* b, std::uint64_t* s) { return gf_engine_statistics_json(engine, b, s); }},
      {"gf_model_info_json", [&](char* b, std::uint64_t* s) { return gf_model_info_json(engine, "fake", b, s); }},
      {"gf_model_list_json", [&](char* b, std::uint64_t* s) { return gf_model_list_json(engine, b, s); }},
      {"gf_job_report_json", [&](char* b, std::uint64_t* s) { return gf_job_report_json(engine, &job, b, s); }},
      {"gf_job_parameters_text",
       [&](char* b, std::uint64_t* s) { return gf_job_parameters_text(engine, &job, 0, b, s); }},
      // It reads each model's configs and opens the backend anew, so that those paths lose an allocation too.
      {"gf_doctor_json", [&](char* b, std::uint64_t* s) { return gf_doctor_json(&options, b, s); }},
  };
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    CHECK(fail_each_allocation([&, &give = call] {
            std::uint64_t size = 0;
            return give(nullptr, &size);
          }) >= 3);
    CHECK(gf::test::text_of(call).size() > 20);
  }
  CHECK(gf_engine_close(engine, 30'000'000) == GF_OK);
}

TEST_CASE("a migrator is opened whole or not at all, and a work without memory has not begun") {
  const char* const name = "001_a_name_that_is_longer_than_a_small_string.sql";
  const char* const text = "-- gameforge: up\ncreate table a (id int);\n-- gameforge: down\ndrop table a;\n";
  gf_migrator_options options = GF_MIGRATOR_OPTIONS_INIT;
  options.url = "sqlite::memory:";
  options.file_names = &name;
  options.file_texts = &text;
  options.file_count = 1;
  CHECK(fail_each_allocation([&] {
          gf_migrator* migrator = nullptr;
          const auto status = gf_migrator_open(&options, &migrator);
          if ((status == GF_OK) != (migrator != nullptr)) return GF_ERR_INTERNAL;
          const auto closed = gf_migrator_close(migrator, 30'000'000);
          if (status == GF_OK && closed != GF_OK) gf_migrator_close(migrator, 30'000'000);
          return status;
        }) >= 5);
  gf_migrator* migrator = nullptr;
  REQUIRE(gf_migrator_open(&options, &migrator) == GF_OK);
  CHECK(fail_each_allocation([&] {
          const auto status = gf_migrator_plan(migrator, nullptr);
          if (status == GF_OK) gf_migrator_wait(migrator, 30'000'000, nullptr);
          return status;
        }) >= 1);
  gf_migrator_info info = GF_MIGRATOR_INFO_INIT;
  REQUIRE(gf_migrator_wait(migrator, 30'000'000, &info) == GF_OK);
  CHECK(info.status == GF_OK);
  CHECK(info.step_count == 1);
  CHECK(fail_each_allocation([&] {
          std::uint64_t size = 0;
          return gf_migrator_report_json(migrator, nullptr, &size);
        }) >= 0);
  CHECK(gf_migrator_close(migrator, 30'000'000) == GF_OK);
}

TEST_CASE("a queue is opened whole or not at all, and what it cannot take or give is not lost") {
  CHECK(fail_each_allocation([] {
          gf_queue* queue = nullptr;
          const auto status = gf_queue_open(nullptr, &queue);
          if ((status == GF_OK) != (queue != nullptr)) return GF_ERR_INTERNAL;
          gf_queue_close(queue);
          return status;
        }) >= 5);
  gf_queue* queue = nullptr;
  REQUIRE(gf_queue_open(nullptr, &queue) == GF_OK);
  const char* const tag = "a tag that is longer than a small string";
  gf_queue_job job = GF_QUEUE_JOB_INIT;
  job.user = "a user whose name is longer than a small string";
  job.payload = reinterpret_cast<const std::uint8_t*>(tag);
  job.payload_bytes = 40;
  job.tags = &tag;
  job.tag_count = 1;
  std::uint64_t put_in = 0;
  CHECK(fail_each_allocation([&] {
          const auto status = gf_queue_enqueue(queue, &job, 0, nullptr);
          put_in += status == GF_OK ? 1 : 0;
          return status;
        }) >= 3);
  CHECK(fail_each_allocation([&] {
          gf_queue_enqueued each[2] = {GF_QUEUE_ENQUEUED_INIT, GF_QUEUE_ENQUEUED_INIT};
          const gf_queue_job both[2] = {job, job};
          const auto status = gf_queue_enqueue_many(queue, both, 2, each);
          for (const auto& one : each) put_in += one.id.high != 0 ? 1 : 0;
          return status;
        }) >= 3);
  // Taken without memory: nobody has it, or the caller does. Each ends at its first whole take.
  std::uint64_t taken = 0;
  CHECK(fail_each_allocation([&] {
          std::uint32_t count = 1;
          gf_queue_jobs* jobs = nullptr;
          const auto status =
              gf_queue_reserve(queue, "a worker whose name is longer than a small string", 0, 0, &count, &jobs);
          if ((status == GF_OK) != (jobs != nullptr)) return GF_ERR_INTERNAL;
          taken += status == GF_OK ? 1 : 0;
          gf_queue_jobs_release(jobs);
          return status;
        }) >= 3);
  gf_queue_statistics figures = GF_QUEUE_STATISTICS_INIT;
  REQUIRE(gf_queue_read_statistics(queue, &figures) == GF_OK);
  CHECK(figures.accepted == put_in);
  CHECK(figures.running == taken);
  CHECK(figures.waiting[1] == put_in - taken);

  gf_queue_filter filter = GF_QUEUE_FILTER_INIT;
  filter.state = GF_QUEUE_WAITING;
  gf_queue_jobs* page = nullptr;
  CHECK(fail_each_allocation([&] {
          gf_queue_jobs* jobs = nullptr;
          const auto status = gf_queue_list(queue, &filter, nullptr, 10, &jobs);
          if ((status == GF_OK) != (jobs != nullptr)) return GF_ERR_INTERNAL;
          gf_queue_jobs_release(jobs);
          return status;
        }) >= 3);
  REQUIRE(gf_queue_list(queue, &filter, nullptr, 1, &page) == GF_OK);
  const gf::test::TextCall texts[] = {
      [&](char* b, std::uint64_t* s) { return gf_queue_statistics_json(queue, b, s); },
      [&](char* b, std::uint64_t* s) { return gf_queue_prometheus_text(queue, b, s); },
      [&](char* b, std::uint64_t* s) { return gf_queue_jobs_json(page, 0, b, s); },
  };
  for (const auto& text : texts) {
    CHECK(fail_each_allocation([&] {
            std::uint64_t size = 0;
            return text(nullptr, &size);
          }) >= 2);
  }
  CHECK(gf_queue_jobs_release(page) == GF_OK);
  CHECK(gf_queue_close(queue) == GF_OK);

  const char* const class_name = "a class whose name is longer than a small string";
  const gf_rate rate = {5, 5, 1'000'000};
  gf_rate_limiter_options options = GF_RATE_LIMITER_OPTIONS_INIT;
  options.class_names = &class_name;
  options.class_rates = &rate;
  options.class_count = 1;
  options.per_user = rate;
  CHECK(fail_each_allocation([&] {
          gf_rate_limiter* limiter = nullptr;
          auto status = gf_rate_limiter_open(&options, &limiter);
          if ((status == GF_OK) != (limiter != nullptr)) return GF_ERR_INTERNAL;
          gf_rate_question question = GF_RATE_QUESTION_INIT;
          question.user = "a user whose name is longer than a small string";
          if (status == GF_OK) status = gf_rate_limiter_take(limiter, &question, nullptr);
          gf_rate_limiter_close(limiter);
          return status;
        }) >= 5);
}

TEST_CASE("a logger is opened whole or not at all, and a line that there is no memory for is counted") {
  const gf::test::TemporaryFolder folder;
  const auto path = folder / "a file whose name is longer than a small string.log";
  gf_logger_options options = GF_LOGGER_OPTIONS_INIT;
  options.poll_lines = 16;
  options.file_path = path.c_str();
  options.callback = [](void*, const gf_log_record*, const char*, const char*) {};
  CHECK(fail_each_allocation([&] {
          gf_logger* logger = nullptr;
          const auto status = gf_logger_open(&options, &logger);
          if ((status == GF_OK) != (logger != nullptr)) return GF_ERR_INTERNAL;
          gf_logger_close(logger, 30'000'000);
          return status;
        }) >= 5);
  gf_logger* logger = nullptr;
  REQUIRE(gf_logger_open(&options, &logger) == GF_OK);
  const gf_log_value value = {GF_LOG_VALUE_TEXT, 0, "a value that is longer than a small string", 0, 0};
  const gf_log_field field = {"a key that is longer than a small string", value};
  gf_log_line line = GF_LOG_LINE_INIT;
  line.level = GF_LOG_INFO;
  line.module = "m";
  line.message = "a message that is longer than a small string: {}";
  line.arguments = &value;
  line.argument_count = 1;
  line.fields = &field;
  line.field_count = 1;
  std::uint64_t sent = 0;
  // The caller's thread takes nothing but its ring, and does without it.
  fail_each_allocation([&] {
    const auto status = gf_logger_write(logger, &line);
    ++sent;
    gf_logger_flush(logger, 30'000'000);
    return status;
  });
  gf_logger_statistics statistics = GF_LOGGER_STATISTICS_INIT;
  REQUIRE(gf_logger_read_statistics(logger, &statistics) == GF_OK);
  CHECK(statistics.written == sent);
  char text[1024];
  CHECK(fail_each_allocation([&] {
          gf_log_record record = GF_LOG_RECORD_INIT;
          std::uint64_t size = sizeof text;
          const auto status = gf_logger_poll(logger, &record, text, &size);
          return status == GF_ERR_WOULD_BLOCK ? GF_OK : status;
        }) >= 0);
  CHECK(fail_each_allocation([] { return gf_crash_note_keep("a line that is longer than a small string"); }) >= 1);
  CHECK(gf_logger_close(logger, 30'000'000) == GF_OK);
}

TEST_CASE("an engine's log is polled without memory: a line is given, stays, or is counted") {
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  options.log_level = GF_LOG_DEBUG;
  gf_engine* engine = nullptr;
  CHECK(fail_each_allocation([&] {
          const auto status = gf_engine_open(&options, &engine);
          if ((status == GF_OK) != (engine != nullptr)) return GF_ERR_INTERNAL;
          if (status == GF_OK) {
            while (gf_engine_close(engine, 30'000'000) == GF_ERR_OUT_OF_HOST_MEMORY) {
            }
          }
          return status;
        }) >= 5);
  REQUIRE(gf_engine_open(&options, &engine) == GF_OK);
  int lines = 0;
  std::uint64_t dropped = 0;
  char text[4096];
  const auto poll = [&] {
    gf_log_record record = GF_LOG_RECORD_INIT;
    std::uint64_t size = sizeof text;
    const auto status = gf_engine_poll_log(engine, &record, text, &size);
    if (status == GF_OK) ++lines;
    dropped += status == GF_OK ? record.dropped : 0;
    return status == GF_ERR_WOULD_BLOCK ? GF_OK : status;
  };
  fail_each_allocation(poll);
  for (int times = 0; times < 10; ++times) CHECK(poll() == GF_OK);
  CHECK(lines >= 1);  // "opened with 1 executors ...", or that it was lost.
  CHECK(gf_engine_close(engine, 30'000'000) == GF_OK);
}

TEST_CASE("an aggregator is made whole or not at all, counts what it has no memory for, and strategies too") {
  CHECK(fail_each_allocation([] {
          gf_aggregator* aggregator = nullptr;
          const auto status = gf_aggregator_open(nullptr, &aggregator);
          if ((status == GF_OK) != (aggregator != nullptr)) return GF_ERR_INTERNAL;
          gf_aggregator_close(aggregator);
          return status;
        }) >= 3);
  gf_aggregator* aggregator = nullptr;
  REQUIRE(gf_aggregator_open(nullptr, &aggregator) == GF_OK);
  gf_error_report report = GF_ERROR_REPORT_INIT;
  report.status = GF_ERR_IO;
  report.place = "a place whose name is longer than a small string";
  report.message = "a message that is longer than a small string";
  fail_each_allocation([&] { return gf_aggregator_record(aggregator, &report); });
  fail_each_allocation([&] { return gf_aggregator_set_version(aggregator, "a version longer than a small string"); });
  const gf::test::TextCall texts[] = {
      [&](char* b, std::uint64_t* s) { return gf_aggregator_top_json(aggregator, 1'000'000, 5, b, s); },
      [&](char* b, std::uint64_t* s) { return gf_aggregator_report_json(aggregator, b, s); },
  };
  for (const auto& text : texts) {
    CHECK(fail_each_allocation([&] {
            std::uint64_t size = 0;
            return text(nullptr, &size);
          }) >= 1);
  }
  CHECK(gf::test::text_of(texts[0]).find("a place whose name") != std::string::npos);
  CHECK(gf_aggregator_close(aggregator) == GF_OK);

  gf_engine* engine = nullptr;
  REQUIRE(gf_engine_open(nullptr, &engine) == GF_OK);
  gf_recovery_strategy strategy = GF_RECOVERY_STRATEGY_INIT;
  strategy.name = "a strategy whose name is longer than a small string";
  strategy.callback = [](void*, const gf_failure*, std::int64_t*) -> std::uint32_t { return GF_RECOVERY_PASS; };
  CHECK(fail_each_allocation([&] {
          const auto status = gf_engine_add_strategy(engine, &strategy);
          if (status == GF_OK && gf_engine_remove_strategy(engine, strategy.name) != GF_OK) return GF_ERR_INTERNAL;
          return status;
        }) >= 3);
  CHECK(gf_engine_close(engine, 30'000'000) == GF_OK);
}

TEST_CASE("shared breakers and the error store, of whose calls each allocation fails once") {
  gf_shared_breakers_options sharing = GF_SHARED_BREAKERS_OPTIONS_INIT;
  sharing.redis_url = "redis://somebody:a-password-longer-than-a-small-string@127.0.0.1:1";
  sharing.command_timeout_us = 10'000;
  CHECK(fail_each_allocation([&] {
          gf_breaker* breaker = nullptr;
          gf_shared_breakers* shared = nullptr;
          auto status = gf_breaker_open(nullptr, &breaker);
          if (status == GF_OK) status = gf_shared_breakers_open(&sharing, &shared);
          if (status == GF_OK) {
            status = gf_shared_breakers_share(shared, breaker, "a name that is longer than a small string", 0);
          }
          gf_breaker_permit permit;
          if (status == GF_OK) status = gf_breaker_allow(breaker, &permit, nullptr);
          if (status == GF_OK) status = gf_breaker_report(breaker, &permit, GF_ERR_NETWORK, 0);
          gf_shared_breakers_close(shared, 0);
          gf_breaker_close(breaker);
          return status;
        }) >= 10);

  gf_error_store_options options = GF_ERROR_STORE_OPTIONS_INIT;
  options.redis_url = sharing.redis_url;
  options.command_timeout_us = 10'000;
  const char* const key = "a key that is longer than a small string";
  const gf_error_cause cause = {GF_ERR_DISK_FULL, GF_FOREIGN_SYSTEM, 28, "a cause that is longer than a small string"};
  gf_error_report report = GF_ERROR_REPORT_INIT;
  report.status = GF_ERR_IO;
  report.message = "a message that is longer than a small string";
  report.place = "a place that is longer than a small string";
  report.context_keys = &key;
  report.context_values = &key;
  report.context_count = 1;
  report.causes = &cause;
  report.cause_count = 1;
  CHECK(fail_each_allocation([&] {
          gf_error_store* store = nullptr;
          auto status = gf_error_store_open(&options, &store);
          if (status == GF_OK) {
            status = gf_error_store_record(store, &report);
            // An error for which there is no memory is lost and counted, as one for which there is no room.
            if (status == GF_ERR_QUEUE_FULL) status = GF_OK;
          }
          gf_error_store_close(store, 0);
          return status;
        }) >= 20);
}
