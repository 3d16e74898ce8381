// Engines and jobs through the ABI, with real threads on the fake backend.
#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using gf::test::FakeModels;
using gf::test::functions_with;
using gf::test::TemporaryFolder;
using gf::test::text_of;
using nlohmann::json;

namespace {

using std::chrono::steady_clock;

constexpr std::int64_t second_us = 1'000'000;
constexpr std::int64_t long_us = 120 * second_us;  // A deadline, not a measure: sanitizers are slow.

struct JobLess {
  bool operator()(const gf_job_id& a, const gf_job_id& b) const {
    return a.high != b.high ? a.high < b.high : a.low < b.low;
  }
};

/// An engine on a folder of fake models; closed at the end if it is still open.
struct Open {
  explicit Open(const FakeModels& models, const std::function<void(gf_engine_options&)>& change = nullptr) {
    const char* folder = models.folder().c_str();
    gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
    options.model_folders = &folder;
    options.model_folder_count = 1;
    options.backend_path = GAMEFORGE_FAKE_BACKEND;
    if (change) change(options);
    const auto status = gf_engine_open(&options, &engine);
    CAPTURE(gf_last_error_message());
    REQUIRE(status == GF_OK);
  }
  ~Open() {
    if (engine != nullptr) CHECK(gf_engine_close(engine, long_us) == GF_OK);
  }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;

  gf_engine* engine = nullptr;
};

gf_request request_for(const char* model, const char* prompt, std::uint32_t steps = 3) {
  gf_request request = GF_REQUEST_INIT;
  request.model = model;
  request.prompt = prompt;
  request.width_px = 32;
  request.height_px = 32;
  request.steps = steps;
  request.cfg_scale = 5;
  return request;
}

gf_job_id submit(gf_engine* engine, const gf_request& request) {
  gf_job_id job = {0, 0};
  const auto status = gf_engine_submit(engine, &request, &job);
  CAPTURE(gf_last_error_message());
  REQUIRE(status == GF_OK);
  return job;
}

gf_job_info wait_for(gf_engine* engine, const gf_job_id& job) {
  gf_job_info info = GF_JOB_INFO_INIT;
  REQUIRE(gf_job_wait(engine, &job, long_us, &info) == GF_OK);
  return info;
}

std::string job_error(gf_engine* engine, const gf_job_id& job) {
  return text_of([&](char* buffer, std::uint64_t* size) { return gf_job_error_json(engine, &job, buffer, size); });
}

std::vector<std::uint8_t> pixels_of(gf_engine* engine, const gf_job_id& job, std::uint32_t index) {
  gf_image* image = nullptr;
  REQUIRE(gf_job_image(engine, &job, index, &image) == GF_OK);
  gf_image_info info = GF_IMAGE_INFO_INIT;
  REQUIRE(gf_image_describe(image, &info) == GF_OK);
  const std::uint8_t* pixels = nullptr;
  REQUIRE(gf_image_pixels(image, &pixels) == GF_OK);
  std::vector<std::uint8_t> copy(pixels, pixels + info.byte_count);
  REQUIRE(gf_image_release(image) == GF_OK);
  return copy;
}

bool is_terminal(std::uint32_t type) {
  return type == GF_EVENT_REJECTED || type == GF_EVENT_DONE || type == GF_EVENT_FAILED || type == GF_EVENT_CANCELLED;
}

/// What is wrong with the events of one job, or empty. The header's promises: accepted or rejected first, one terminal
/// event, last; progress never goes back; times rise.
std::string illegal(const std::vector<gf_event>& events) {
  if (events.empty()) return "no event";
  if (events.front().type == GF_EVENT_REJECTED) return events.size() == 1 ? "" : "something follows a rejection";
  if (events.front().type != GF_EVENT_ACCEPTED) return "the first is " + std::to_string(events.front().type);
  bool started = false;
  std::int64_t last_us = -1;
  std::uint64_t last_place = 0;
  for (std::size_t index = 0; index < events.size(); ++index) {
    const auto& event = events[index];
    if (event.at_us < last_us) return "time goes back";
    last_us = event.at_us;
    const bool last = index + 1 == events.size();
    if (is_terminal(event.type) != last) return last ? "no terminal event" : "something follows a terminal event";
    switch (event.type) {
      case GF_EVENT_ACCEPTED:
        if (index != 0) return "accepted twice";
        break;
      case GF_EVENT_STARTED:
        if (started) return "started twice";
        started = true;
        break;
      case GF_EVENT_PROGRESS: {
        if (!started) return "progress before the start";
        if (event.total != 0 && event.step > event.total) return "a step past the total";
        // Loading, encoding, then image by image sampling and decoding: one rising number.
        const std::uint64_t stage = event.stage <= GF_STAGE_ENCODING ? event.stage : 0;
        const std::uint64_t place =
            stage != 0 ? stage << 32 | 0
                       : (std::uint64_t{event.image} + 1) << 40 | std::uint64_t{event.stage} << 32 | event.step;
        if (place < last_place) return "progress goes back";
        last_place = place;
        break;
      }
      case GF_EVENT_IMAGE:
        if (!started) return "an image before the start";
        break;
      case GF_EVENT_DONE:
      case GF_EVENT_FAILED:
        if (!started) return "an end before the start";
        break;
      case GF_EVENT_CANCELLED:
        break;
      default:
        return "an unknown type";
    }
  }
  return "";
}

void sleep_until_true(const std::function<bool()>& condition) {
  const auto deadline = steady_clock::now() + std::chrono::microseconds(long_us);
  while (!condition()) {
    REQUIRE(steady_clock::now() < deadline);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::int64_t since_us(steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("a request gives its image, the same again, and another with another seed") {
  const FakeModels models({{"fake", "{}"}});
  Open open(models);
  auto request = request_for("fake", "a red potion");
  request.seed = 7;
  request.host_tag = 99;
  request.image_count = 2;
  const auto first = submit(open.engine, request);
  const auto info = wait_for(open.engine, first);
  CAPTURE(job_error(open.engine, first));
  REQUIRE(info.status == GF_OK);
  CHECK(info.state == GF_JOB_DONE);
  CHECK(info.images_ready == 2);
  CHECK(info.image_count == 2);
  CHECK(info.width_px == 32);
  CHECK(info.seed == 7);
  CHECK(info.host_tag == 99);
  CHECK(info.total_us > 0);
  CHECK(job_error(open.engine, first) == "{}");

  const auto again = submit(open.engine, request);
  wait_for(open.engine, again);
  CHECK(pixels_of(open.engine, again, 0) == pixels_of(open.engine, first, 0));
  CHECK(pixels_of(open.engine, again, 1) == pixels_of(open.engine, first, 1));
  CHECK(pixels_of(open.engine, first, 0) != pixels_of(open.engine, first, 1));

  // Image i has the seed + i, wherever it is made.
  request.seed = 8;
  request.image_count = 1;
  const auto second = submit(open.engine, request);
  wait_for(open.engine, second);
  CHECK(pixels_of(open.engine, second, 0) == pixels_of(open.engine, first, 1));

  gf_image* image = nullptr;
  CHECK(gf_job_image(open.engine, &first, 2, &image) == GF_ERR_NOT_FOUND);
  CHECK(image == nullptr);
}

TEST_CASE("LoRA files, CLIP skip, eta, noise and an init image reach the backend, and each changes the picture") {
  const FakeModels models{{"fake", "{}"}};
  std::filesystem::create_directories(models.folder() + "/fake/loras");
  std::filesystem::create_directories(models.folder() + "/loras");
  gf::test::write_file(models.folder() + "/fake/loras/frost.safetensors", "x");
  gf::test::write_file(models.folder() + "/loras/ember.safetensors", "x");
  const Open open(models);
  const std::vector<std::uint8_t> grey(4 * 32 * 32, 128);
  gf_image* picture = nullptr;
  REQUIRE(gf_image_create(32, 32, 4 * 32, grey.data(), &picture) == GF_OK);

  const auto pixels_with = [&](const std::function<void(gf_request&)>& change, const char* prompt = "a red potion") {
    auto request = request_for("fake", prompt);
    change(request);
    const auto job = submit(open.engine, request);
    const auto info = wait_for(open.engine, job);
    CAPTURE(job_error(open.engine, job));
    REQUIRE(info.status == GF_OK);
    return pixels_of(open.engine, job, 0);
  };
  const char* frost = "frost";
  const char* ember = "ember";
  const double half = 0.5;
  const auto plain = pixels_with([](gf_request&) {});
  const auto with_frost = pixels_with([&](gf_request& r) {
    r.lora_names = &frost;
    r.lora_count = 1;
  });
  std::set<std::vector<std::uint8_t>> all = {plain, with_frost};
  all.insert(pixels_with([&](gf_request& r) {
    r.lora_names = &frost;
    r.lora_scales = &half;
    r.lora_count = 1;
  }));
  all.insert(pixels_with([&](gf_request& r) {
    r.lora_names = &ember;
    r.lora_count = 1;
  }));
  all.insert(pixels_with([](gf_request& r) { r.clip_skip = 1; }));
  all.insert(pixels_with([](gf_request& r) { r.prompt = "a (red:1.2) potion"; }));
  all.insert(pixels_with([](gf_request& r) {
    r.prompt = "a (red:1.2) potion";
    r.prompt_syntax = GF_PROMPT_PLAIN;
  }));
  all.insert(pixels_with([](gf_request& r) { r.long_prompt = GF_LONG_PROMPT_CUT; }));
  all.insert(pixels_with([](gf_request& r) { r.negative_prompt = "[blur]"; }));
  all.insert(pixels_with([](gf_request& r) { r.eta = 1; }));
  all.insert(pixels_with([](gf_request& r) { r.tile = GF_TILE_X; }));
  all.insert(pixels_with([](gf_request& r) { r.tile = GF_TILE_X | GF_TILE_Y; }));
  all.insert(pixels_with([](gf_request& r) { r.noise = GF_NOISE_PHILOX; }));
  all.insert(pixels_with([&](gf_request& r) { r.init_image = picture; }));
  all.insert(pixels_with([&](gf_request& r) {
    r.init_image = picture;
    r.strength = 0.5;
  }));
  all.insert(pixels_with([&](gf_request& r) {
    r.init_image = picture;
    r.mask = picture;
  }));
  CHECK(all.size() == 16);
  CHECK(pixels_with([](gf_request&) {}, "a red potion <lora:frost>") == with_frost);
  CHECK(pixels_with([](gf_request&) {}, "<lora:frost:1.0>a red potion") == with_frost);

  // The share is the request's own: the host's may go as soon as the request is handed in.
  auto request = request_for("fake", "p");
  request.init_image = picture;
  request.width_px = request.height_px = 0;
  const auto job = submit(open.engine, request);
  CHECK(gf_image_release(picture) == GF_OK);
  const auto info = wait_for(open.engine, job);
  CHECK(info.status == GF_OK);
  CHECK(info.width_px == 32);
  const auto report =
      json::parse(text_of([&](char* b, std::uint64_t* s) { return gf_job_report_json(open.engine, &job, b, s); }));
  CHECK(report.at("request").at("strength") == 0.75);
}

TEST_CASE("what is wrong with a request's LoRA files and pictures is told by name") {
  const FakeModels models{{"fake", "{}"}};
  const Open open(models);
  const std::vector<std::uint8_t> grey(4 * 32 * 16, 128);
  gf_image* picture = nullptr;
  REQUIRE(gf_image_create(32, 16, 4 * 32, grey.data(), &picture) == GF_OK);
  const auto refused = [&](const std::function<void(gf_request&)>& change, gf_status status, const char* words) {
    auto request = request_for("fake", "p");
    change(request);
    gf_job_id job;
    CAPTURE(words);
    CHECK(gf_engine_submit(open.engine, &request, &job) == status);
    CHECK(std::string(gf_last_error_message()).find(words) != std::string::npos);
  };
  const char* name = "../up";
  const double nan = std::numeric_limits<double>::quiet_NaN();
  refused([](gf_request& r) { r.lora_count = 1; }, GF_ERR_INVALID_ARGUMENT, "lora_names is NULL");
  refused([](gf_request& r) { r.lora_count = 33; }, GF_ERR_INVALID_ARGUMENT, "33");
  refused(
      [&](gf_request& r) {
        r.lora_names = &name;
        r.lora_count = 1;
      },
      GF_ERR_INVALID_ARGUMENT, "lora_names[0]");
  refused(
      [&](gf_request& r) {
        r.lora_names = &name;
        r.lora_scales = &nan;
        r.lora_count = 1;
      },
      GF_ERR_INVALID_ARGUMENT, "scale");
  refused([](gf_request& r) { r.prompt = "x <lora:a:much>"; }, GF_ERR_INVALID_ARGUMENT, "<lora:a:much>");
  refused([](gf_request& r) { r.clip_skip = 65; }, GF_ERR_INVALID_ARGUMENT, "clip_skip");
  refused([](gf_request& r) { r.prompt_syntax = 2; }, GF_ERR_UNSUPPORTED, "prompt_syntax");
  refused([](gf_request& r) { r.long_prompt = 3; }, GF_ERR_UNSUPPORTED, "long_prompt");
  refused([](gf_request& r) { r.tile = 4; }, GF_ERR_UNSUPPORTED, "tile");
  refused([](gf_request& r) { r.prompt = "(a:101)"; }, GF_ERR_INVALID_ARGUMENT, "prompt weighs \"a\" by 101");
  refused([](gf_request& r) { r.prompt_2 = "(a:101)"; }, GF_ERR_INVALID_ARGUMENT, "prompt_2");
  refused([](gf_request& r) { r.negative_prompt = "(a:101)"; }, GF_ERR_INVALID_ARGUMENT, "negative_prompt");
  refused([](gf_request& r) { r.negative_prompt_2 = "(a:101)"; }, GF_ERR_INVALID_ARGUMENT, "negative_prompt_2");
  refused([&](gf_request& r) { r.eta = nan; }, GF_ERR_INVALID_ARGUMENT, "eta");
  refused([](gf_request& r) { r.noise = 7; }, GF_ERR_UNSUPPORTED, "noise is 7");
  refused([](gf_request& r) { r.priority = 9; }, GF_ERR_UNSUPPORTED, "priority is 9");
  refused([](gf_request& r) { r.strength = 0.5; }, GF_ERR_INVALID_ARGUMENT, "init_image is NULL");
  refused([&](gf_request& r) { r.mask = picture; }, GF_ERR_INVALID_ARGUMENT, "init_image is NULL");
  refused([&](gf_request& r) { r.init_image = picture; }, GF_ERR_INVALID_ARGUMENT, "height_px is 32");
  refused(
      [&](gf_request& r) {
        r.init_image = picture;
        r.height_px = 16;
        r.strength = 1.5;
      },
      GF_ERR_INVALID_ARGUMENT, "strength");
  refused([](gf_request& r) { r.init_image = reinterpret_cast<gf_image*>(77); }, GF_ERR_INVALID_HANDLE, "init_image");
  auto request = request_for("fake", "p <lora:nobody>");
  const auto job = submit(open.engine, request);
  CHECK(wait_for(open.engine, job).status == GF_ERR_NOT_FOUND);
  CHECK(job_error(open.engine, job).find("nobody") != std::string::npos);
  CHECK(gf_image_release(picture) == GF_OK);
}

TEST_CASE("many jobs from many threads are all accounted for, and the events of each are legal") {
  const FakeModels models({{"fake", R"({"step_us": 200})"}, {"failing", R"({"fail_at_step": 1})"}});
  Open open(models, [](gf_engine_options& options) {
    options.executor_count = 3;
    options.queue_limit = 100000;
    options.retained_job_count = 100000;
  });
  constexpr int thread_count = 8;
  constexpr int jobs_a_thread = 40;
  std::mutex mutex;
  std::map<gf_job_id, std::string, JobLess> expected;  // Guarded by mutex.
  std::vector<std::thread> threads;
  for (int thread = 0; thread < thread_count; ++thread) {
    threads.emplace_back([&, thread] {
      for (int index = 0; index < jobs_a_thread; ++index) {
        const auto kind = (thread + index) % 8;
        auto request = request_for(kind == 3 ? "missing" : "fake", "many", 2);
        request.seed = static_cast<std::uint64_t>(1000 * thread + index);
        request.host_tag = request.seed + 1;
        gf_job_id job;
        if (gf_engine_submit(open.engine, &request, &job) != GF_OK) {
          FAIL_CHECK("a submit was refused: " << gf_last_error_message());
          return;
        }
        const bool cancel = kind == 5;
        if (cancel && gf_job_cancel(open.engine, &job, GF_CANCEL_NOW) != GF_OK) FAIL_CHECK("a cancel was refused");
        const std::scoped_lock lock(mutex);
        expected[job] = kind == 3 ? "rejected" : cancel ? "cancelled or done" : "done";
      }
    });
  }
  // Two threads share the events.
  std::map<gf_job_id, std::vector<std::pair<std::uint64_t, gf_event>>, JobLess> seen;  // Guarded by mutex.
  std::atomic<int> ended{0};
  std::atomic<std::uint64_t> order{0};
  std::thread poller([&] {
    const auto deadline = steady_clock::now() + std::chrono::microseconds(long_us);
    while (ended < thread_count * jobs_a_thread && steady_clock::now() < deadline) {
      gf_event event = GF_EVENT_INIT;
      const auto status = gf_engine_wait_event(open.engine, second_us / 10, &event);
      if (status == GF_ERR_TIMED_OUT) continue;
      if (status != GF_OK) break;
      const std::scoped_lock lock(mutex);
      seen[event.job].emplace_back(order++, event);
      if (is_terminal(event.type)) ++ended;
    }
  });
  for (auto& thread : threads) thread.join();
  poller.join();
  REQUIRE(expected.size() == thread_count * jobs_a_thread);
  CHECK(seen.size() == expected.size());
  std::uint64_t tags = 0;
  for (const auto& [job, wanted] : expected) {
    std::vector<gf_event> events;
    for (const auto& [place, event] : seen[job]) events.push_back(event);
    const auto problem = illegal(events);
    CAPTURE(wanted);
    CHECK(problem == "");
    REQUIRE_FALSE(events.empty());
    for (const auto& event : events) CHECK(event.host_tag == events.front().host_tag);
    tags += events.front().host_tag;
    const auto last = events.back();
    gf_job_info info = GF_JOB_INFO_INIT;
    REQUIRE(gf_job_status(open.engine, &job, &info) == GF_OK);
    CHECK(info.status == last.status);
    CHECK(info.state >= GF_JOB_DONE);
    if (wanted == "rejected") {
      CHECK(last.type == GF_EVENT_REJECTED);
      CHECK(last.status == GF_ERR_NOT_FOUND);
    } else if (wanted == "done") {
      CHECK(last.type == GF_EVENT_DONE);
      CHECK(last.status == GF_OK);
    } else {
      CHECK((last.type == GF_EVENT_CANCELLED || last.type == GF_EVENT_DONE));
    }
  }
  std::uint64_t wanted_tags = 0;
  for (int thread = 0; thread < thread_count; ++thread) {
    for (int index = 0; index < jobs_a_thread; ++index)
      wanted_tags += static_cast<std::uint64_t>(1000 * thread + index + 1);
  }
  CHECK(tags == wanted_tags);
  gf_event event = GF_EVENT_INIT;
  CHECK(gf_engine_poll(open.engine, &event) == GF_ERR_WOULD_BLOCK);
}

TEST_CASE("close with jobs in flight keeps its timeout, wakes who waits, and leaves the images that were taken") {
  const FakeModels models({{"slow", R"({"step_us": 50000})"}});
  Open open(models, [](gf_engine_options& options) { options.executor_count = 2; });
  auto request = request_for("slow", "quick one", 1);
  const auto done = submit(open.engine, request);
  wait_for(open.engine, done);
  gf_image* image = nullptr;
  REQUIRE(gf_job_image(open.engine, &done, 0, &image) == GF_OK);

  request.steps = 1000;
  std::vector<gf_job_id> jobs;
  for (int index = 0; index < 20; ++index) jobs.push_back(submit(open.engine, request));
  std::atomic<int> waiting{0};
  std::vector<std::thread> waiters;
  std::vector<gf_status> answers(4, GF_OK);
  for (std::size_t index = 0; index < answers.size(); ++index) {
    waiters.emplace_back([&, index] {
      ++waiting;
      gf_event event = GF_EVENT_INIT;
      if (index == 0) {
        do answers[index] = gf_engine_wait_event(open.engine, long_us, &event);
        while (answers[index] == GF_OK);
      } else {
        gf_job_info info = GF_JOB_INFO_INIT;
        answers[index] = gf_job_wait(open.engine, &jobs[index], long_us, &info);
      }
    });
  }
  sleep_until_true([&] {
    gf_job_info info = GF_JOB_INFO_INIT;
    return waiting == 4 && gf_job_status(open.engine, &jobs[0], &info) == GF_OK && info.step >= 1;
  });
  const auto start = steady_clock::now();
  const auto status = gf_engine_close(open.engine, 20 * second_us);
  const auto took_us = since_us(start);
  CHECK(status == GF_OK);
  CHECK(took_us < 20 * second_us);
  for (auto& waiter : waiters) waiter.join();
  CHECK(answers[0] == GF_ERR_INVALID_HANDLE);
  for (std::size_t index = 1; index < answers.size(); ++index) {
    // Its job ended as cancelled before the handle went, or the handle went first.
    CHECK((answers[index] == GF_ERR_INVALID_HANDLE || answers[index] == GF_OK));
  }
  gf_job_info info = GF_JOB_INFO_INIT;
  CHECK(gf_job_status(open.engine, &jobs[0], &info) == GF_ERR_INVALID_HANDLE);
  open.engine = nullptr;
  const std::uint8_t* pixels = nullptr;
  REQUIRE(gf_image_pixels(image, &pixels) == GF_OK);
  unsigned sum = 0;
  for (int index = 0; index < 32 * 32 * 4; ++index) sum += pixels[index];
  CHECK(sum > 0);
  CHECK(gf_image_release(image) == GF_OK);
}

TEST_CASE("close without time returns at once, the handle is gone, and the rest ends behind it") {
  // Deaf: one that sees the cancel could have ended before the call looks, on a busy machine.
  const FakeModels models({{"slow", R"({"step_us": 300000, "deaf": true})"}});
  Open open(models);
  const auto job = submit(open.engine, request_for("slow", "x", 100));
  sleep_until_true([&] {
    gf_job_info info = GF_JOB_INFO_INIT;
    return gf_job_status(open.engine, &job, &info) == GF_OK && info.state == GF_JOB_RUNNING &&
           info.stage == GF_STAGE_SAMPLING;
  });
  const auto start = steady_clock::now();
  const auto status = gf_engine_close(open.engine, 0);
  const auto took_us = since_us(start);
  CHECK(status == GF_ERR_TIMED_OUT);
  CHECK(took_us < second_us);
  CHECK(gf_engine_close(open.engine, 0) == GF_ERR_INVALID_HANDLE);
  open.engine = nullptr;
}

TEST_CASE("threads that call while another closes get an answer each, and none after") {
  const FakeModels models({{"fake", R"({"step_us": 100})"}});
  for (int round = 0; round < 10; ++round) {
    Open open(models, [](gf_engine_options& options) { options.queue_limit = 1000; });
    std::atomic<bool> stop{false};
    std::atomic<int> calls{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        const auto request = request_for("fake", "race", 2);
        while (!stop) {
          gf_job_id job;
          const auto status = gf_engine_submit(open.engine, &request, &job);
          ++calls;
          if (status == GF_ERR_INVALID_HANDLE || status == GF_ERR_SHUTTING_DOWN) continue;
          if (status != GF_OK && status != GF_ERR_QUEUE_FULL) FAIL_CHECK("submit gave " << status);
          gf_event event = GF_EVENT_INIT;
          const auto polled = gf_engine_poll(open.engine, &event);
          if (polled != GF_OK && polled != GF_ERR_WOULD_BLOCK && polled != GF_ERR_INVALID_HANDLE) {
            FAIL_CHECK("poll gave " << polled);
          }
        }
      });
    }
    sleep_until_true([&] { return calls > 50; });
    CHECK(gf_engine_close(open.engine, long_us) == GF_OK);
    const auto request = request_for("fake", "late", 2);
    gf_job_id job;
    CHECK(gf_engine_submit(open.engine, &request, &job) == GF_ERR_INVALID_HANDLE);
    stop = true;
    for (auto& thread : threads) thread.join();
    open.engine = nullptr;
  }
}

namespace {

struct Sink {
  std::mutex mutex;
  std::vector<std::string> lines;  // Guarded by mutex.
  std::uint64_t dropped = 0;       // Guarded by mutex.
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};

  static void take(void* self, const gf_log_record* record, const char* module, const char* message) {
    auto& sink = *static_cast<Sink*>(self);
    if (sink.inside.fetch_add(1) != 0) sink.overlapped = true;
    {
      const std::scoped_lock lock(sink.mutex);
      if (record->level < GF_LOG_ERROR || record->level > GF_LOG_DEBUG) FAIL_CHECK("level " << record->level);
      sink.dropped += record->dropped;
      sink.lines.push_back(std::string(module) + "\t" + message);
    }
    sink.inside.fetch_sub(1);
  }

  std::size_t count(const std::string& line) {
    const std::scoped_lock lock(mutex);
    return static_cast<std::size_t>(std::count(lines.begin(), lines.end(), line));
  }
};

}  // namespace

TEST_CASE("two engines with two log sinks under threads: no line in the wrong one, one call at a time") {
  const FakeModels alpha({{"alpha", R"({"step_us": 50, "log": true})"}});
  const FakeModels beta({{"beta", R"({"step_us": 50, "log": true})"}});
  // The backend logs each step, so that the lines of one engine are counted by its jobs.
  constexpr std::size_t jobs_a_thread = 20;
  constexpr std::size_t steps[2] = {2, 3};
  constexpr std::size_t expected[2] = {2 * jobs_a_thread * steps[0], 2 * jobs_a_thread * steps[1]};
  Sink sinks[2];
  std::set<std::string> jobs[2];
  {
    const auto listen = [](Sink& sink) {
      return [&sink](gf_engine_options& options) {
        options.log_level = GF_LOG_DEBUG;
        options.log_callback = Sink::take;
        options.log_user_data = &sink;
        options.executor_count = 2;
      };
    };
    Open first(alpha, listen(sinks[0]));
    Open second(beta, listen(sinks[1]));
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        const int side = thread % 2;
        auto* engine = side == 0 ? first.engine : second.engine;
        for (std::size_t index = 0; index < jobs_a_thread; ++index) {
          const auto request =
              request_for(side == 0 ? "alpha" : "beta", "log", static_cast<std::uint32_t>(steps[side]));
          gf_job_id job;
          if (gf_engine_submit(engine, &request, &job) != GF_OK) FAIL_CHECK("a submit was refused");
          gf_job_info info = GF_JOB_INFO_INIT;
          if (gf_job_wait(engine, &job, long_us, &info) != GF_OK || info.status != GF_OK) FAIL_CHECK("a job failed");
          const std::scoped_lock lock(mutex);
          jobs[side].insert(
              text_of([&](char* buffer, std::uint64_t* size) { return gf_job_id_text(&job, buffer, size); }));
        }
      });
    }
    for (auto& thread : threads) thread.join();
    // Lines come on a thread of the engine, a moment later.
    sleep_until_true(
        [&] { return sinks[0].count("fake\tstep") >= expected[0] && sinks[1].count("fake\tstep") >= expected[1]; });
  }
  const char* const other[2] = {"beta", "alpha"};
  for (int side = 0; side < 2; ++side) {
    CAPTURE(side);
    CHECK_FALSE(sinks[side].overlapped);
    CHECK(sinks[side].count("fake\tstep") == expected[side]);
    const std::scoped_lock lock(sinks[side].mutex);
    CHECK(sinks[side].dropped == 0);
    for (const auto& line : sinks[side].lines) {
      CAPTURE(line);
      CHECK(line.find(other[side]) == std::string::npos);
      for (const auto& job : jobs[1 - side]) CHECK(line.find(job) == std::string::npos);
    }
  }
}

TEST_CASE("log lines are polled by the rule of texts, in order, and silence is the default") {
  const FakeModels models({{"fake", "{}"}});
  {
    Open open(models);
    wait_for(open.engine, submit(open.engine, request_for("fake", "silent")));
    gf_log_record record = GF_LOG_RECORD_INIT;
    std::uint64_t size = 0;
    CHECK(gf_engine_poll_log(open.engine, &record, nullptr, &size) == GF_ERR_WOULD_BLOCK);
  }
  Open open(models, [](gf_engine_options& options) { options.log_level = GF_LOG_DEBUG; });
  wait_for(open.engine, submit(open.engine, request_for("fake", "spoken")));
  gf_log_record record = GF_LOG_RECORD_INIT;
  std::uint64_t size = 0;
  REQUIRE(gf_engine_poll_log(open.engine, &record, nullptr, &size) == GF_OK);
  CHECK(record.level >= GF_LOG_ERROR);
  CHECK(record.unix_us > 1'600'000'000'000'000);
  const auto needed = size;
  std::vector<char> buffer(needed, 'x');
  size = needed - 1;
  CHECK(gf_engine_poll_log(open.engine, &record, buffer.data(), &size) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(size == needed);
  CHECK(buffer[0] == 'x');
  size = needed;
  REQUIRE(gf_engine_poll_log(open.engine, &record, buffer.data(), &size) == GF_OK);
  CHECK(buffer[needed - 1] == '\0');
  CHECK(std::strlen(buffer.data()) == needed - 1);
  CHECK(std::strchr(buffer.data(), '\t') != nullptr);
  std::int64_t last_us = record.unix_us;
  int lines = 1;
  std::vector<char> large(1 << 16);
  for (;; ++lines) {
    size = large.size();
    const auto status = gf_engine_poll_log(open.engine, &record, large.data(), &size);
    if (status == GF_ERR_WOULD_BLOCK) break;
    REQUIRE(status == GF_OK);
    CHECK(record.unix_us >= last_us);
    last_us = record.unix_us;
  }
  CHECK(lines >= 2);
}

namespace {

struct Listener {
  gf_engine* engine = nullptr;
  std::mutex mutex;
  std::condition_variable moved;
  std::vector<gf_event> events;  // Guarded by mutex.
  std::atomic<int> inside{0};
  std::atomic<bool> overlapped{false};
  std::atomic<int> closed_inside{-1};
  std::atomic<int> status_inside{-1};

  static void take(void* self, const gf_event* event) {
    auto& listener = *static_cast<Listener*>(self);
    if (listener.inside.fetch_add(1) != 0) listener.overlapped = true;
    if (is_terminal(event->type)) {
      listener.closed_inside = gf_engine_close(listener.engine, 0);
      gf_job_info info = GF_JOB_INFO_INIT;
      listener.status_inside = gf_job_status(listener.engine, &event->job, &info);
    }
    listener.inside.fetch_sub(1);
    {
      const std::scoped_lock lock(listener.mutex);
      listener.events.push_back(*event);
    }
    listener.moved.notify_all();
    if (event->type == GF_EVENT_STARTED) throw std::runtime_error("a host's own mistake");
  }
};

}  // namespace

TEST_CASE("events come to a callback, which may call anything but close, and whose exceptions do no harm") {
  const FakeModels models({{"fake", "{}"}});
  Listener listener;
  Open open(models, [&listener](gf_engine_options& options) {
    options.event_callback = Listener::take;
    options.event_user_data = &listener;
  });
  listener.engine = open.engine;
  const auto job = submit(open.engine, request_for("fake", "callback"));
  {
    std::unique_lock lock(listener.mutex);
    const bool came = listener.moved.wait_for(lock, std::chrono::microseconds(long_us), [&listener] {
      return !listener.events.empty() && is_terminal(listener.events.back().type);
    });
    REQUIRE(came);
    CHECK(illegal(listener.events) == "");
    CHECK(listener.events.back().type == GF_EVENT_DONE);
    CHECK(listener.events.back().job.low == job.low);
    CHECK(listener.events.back().struct_size == sizeof(gf_event));
  }
  CHECK_FALSE(listener.overlapped);
  CHECK(listener.closed_inside == GF_ERR_WRONG_STATE);
  CHECK(listener.status_inside == GF_OK);
  gf_event event = GF_EVENT_INIT;
  CHECK(gf_engine_poll(open.engine, &event) == GF_ERR_WOULD_BLOCK);
  CHECK(wait_for(open.engine, submit(open.engine, request_for("fake", "still open"))).status == GF_OK);
}

TEST_CASE("a failed and a rejected job say why; each status of the backend's own comes through") {
  const FakeModels models(
      {{"broken", R"({"fail_stage": "step", "fail_status": 407, "fail_message": "step gave NaN"})"}});
  Open open(models);
  const auto failed = submit(open.engine, request_for("broken", "x"));
  const auto info = wait_for(open.engine, failed);
  CHECK(info.state == GF_JOB_FAILED);
  CHECK(info.status == GF_ERR_NOT_FINITE);
  const auto why = json::parse(job_error(open.engine, failed));
  CHECK(why.at("status") == 407);
  CHECK(why.at("name") == "not_finite");
  CHECK(why.dump().find("step gave NaN") != std::string::npos);
  CHECK(why.contains("hint"));

  const auto rejected = submit(open.engine, request_for("missing", "x"));
  CHECK(wait_for(open.engine, rejected).state == GF_JOB_REJECTED);
  const auto reason = json::parse(job_error(open.engine, rejected));
  CHECK(reason.at("status") == 102);
  CHECK(std::string(reason.at("message")).find("missing") != std::string::npos);
  gf_image* image = nullptr;
  CHECK(gf_job_image(open.engine, &rejected, 0, &image) == GF_ERR_NOT_FOUND);
}

TEST_CASE("wait and cancel keep to their arguments") {
  const FakeModels models({{"slow", R"({"step_us": 20000})"}});
  Open open(models);
  auto request = request_for("slow", "x", 1000);
  const auto job = submit(open.engine, request);
  gf_job_info info = GF_JOB_INFO_INIT;
  CHECK(gf_job_wait(open.engine, &job, 0, &info) == GF_ERR_TIMED_OUT);
  CHECK(info.image_count == 1);
  CHECK(gf_job_wait(open.engine, &job, -1, &info) == GF_ERR_INVALID_ARGUMENT);
  auto start = steady_clock::now();
  CHECK(gf_job_wait(open.engine, &job, 50000, nullptr) == GF_ERR_TIMED_OUT);
  CHECK(since_us(start) >= 50000);
  CHECK(gf_job_forget(open.engine, &job) == GF_ERR_WRONG_STATE);
  gf_image* image = nullptr;
  CHECK(gf_job_image(open.engine, &job, 0, &image) == GF_ERR_WOULD_BLOCK);

  CHECK(gf_job_cancel(open.engine, &job, GF_CANCEL_NOW) == GF_OK);
  CHECK(wait_for(open.engine, job).state == GF_JOB_CANCELLED);
  CHECK(wait_for(open.engine, job).status == GF_ERR_CANCELLED);
  CHECK(gf_job_cancel(open.engine, &job, GF_CANCEL_NOW) == GF_OK);  // Over: changes nothing.
  CHECK(gf_job_image(open.engine, &job, 0, &image) == GF_ERR_NOT_FOUND);
  CHECK(gf_job_forget(open.engine, &job) == GF_OK);
  CHECK(gf_job_status(open.engine, &job, &info) == GF_ERR_NOT_FOUND);
  CHECK(gf_job_forget(open.engine, &job) == GF_ERR_NOT_FOUND);

  // After the image that is being made, the rest is skipped.
  request.steps = 5;
  request.image_count = 50;
  const auto many = submit(open.engine, request);
  sleep_until_true([&] { return gf_job_status(open.engine, &many, &info) == GF_OK && info.images_ready >= 1; });
  CHECK(gf_job_cancel(open.engine, &many, GF_CANCEL_AFTER_IMAGE) == GF_OK);
  info = wait_for(open.engine, many);
  CHECK(info.state == GF_JOB_CANCELLED);
  CHECK(info.images_ready >= 1);
  CHECK(info.images_ready < 50);
  REQUIRE(gf_job_image(open.engine, &many, 0, &image) == GF_OK);
  CHECK(gf_image_release(image) == GF_OK);

  gf_event event = GF_EVENT_INIT;
  while (gf_engine_poll(open.engine, &event) == GF_OK) {
  }
  start = steady_clock::now();
  CHECK(gf_engine_wait_event(open.engine, 30000, &event) == GF_ERR_TIMED_OUT);
  CHECK(since_us(start) >= 30000);
}

TEST_CASE("latents are kept on request, and given by count") {
  const FakeModels models({{"fake", "{}"}});
  Open open(models);
  auto request = request_for("fake", "latents");
  const auto without = submit(open.engine, request);
  request.flags = GF_REQUEST_KEEP_LATENTS;
  const auto with = submit(open.engine, request);
  wait_for(open.engine, without);
  CHECK(wait_for(open.engine, with).status == GF_OK);
  std::uint64_t count = 0;
  CHECK(gf_job_latents(open.engine, &without, 0, nullptr, &count) == GF_ERR_NOT_FOUND);
  REQUIRE(gf_job_latents(open.engine, &with, 0, nullptr, &count) == GF_OK);
  REQUIRE(count > 0);
  std::vector<float> values(count, -77.0f);
  count = values.size() - 1;
  CHECK(gf_job_latents(open.engine, &with, 0, values.data(), &count) == GF_ERR_BUFFER_TOO_SMALL);
  CHECK(count == values.size());
  CHECK(values[0] == -77.0f);
  REQUIRE(gf_job_latents(open.engine, &with, 0, values.data(), &count) == GF_OK);
  CHECK(std::count(values.begin(), values.end(), -77.0f) == 0);
  CHECK(gf_job_latents(open.engine, &with, 1, nullptr, &count) == GF_ERR_NOT_FOUND);
}

TEST_CASE("models are listed, described, loaded ahead, pinned and released") {
  const FakeModels models({{"fake", "{}"}});
  Open open(models);
  const auto list = [&] {
    return json::parse(
        text_of([&](char* buffer, std::uint64_t* size) { return gf_model_list_json(open.engine, buffer, size); }));
  };
  REQUIRE(list().size() == 1);
  CHECK(list()[0].at("name") == "fake");
  CHECK(list()[0].at("loaded") == false);
  CHECK(gf_model_release(open.engine, "fake") == GF_ERR_NOT_FOUND);

  gf_job_id job;
  REQUIRE(gf_model_load_ahead(open.engine, "fake", 5, &job) == GF_OK);
  const auto info = wait_for(open.engine, job);
  CAPTURE(job_error(open.engine, job));
  CHECK(info.status == GF_OK);
  CHECK(info.host_tag == 5);
  CHECK(list()[0].at("loaded") == true);
  REQUIRE(gf_model_pin(open.engine, "fake", 1) == GF_OK);
  CHECK(list()[0].at("pinned") == true);
  const auto description = json::parse(text_of(
      [&](char* buffer, std::uint64_t* size) { return gf_model_info_json(open.engine, "fake", buffer, size); }));
  CHECK(description.at("name") == "fake");
  REQUIRE(gf_model_release(open.engine, "fake") == GF_OK);
  sleep_until_true([&] { return list()[0].at("loaded") == false; });
  CHECK(list()[0].at("pinned") == false);
  CHECK(gf_model_pin(open.engine, "missing", 1) == GF_ERR_NOT_FOUND);
}

TEST_CASE("structs of older and newer headers are taken as their sizes say") {
  const FakeModels models({{"fake", "{}"}});
  Open open(models);
  struct NewerRequest {
    gf_request known;
    std::uint64_t unknown[2];
  } newer = {request_for("fake", "newer"), {0, 0}};
  newer.known.struct_size = sizeof newer;
  gf_job_id job;
  REQUIRE(gf_engine_submit(open.engine, &newer.known, &job) == GF_OK);
  wait_for(open.engine, job);
  newer.unknown[1] = 1;
  CHECK(gf_engine_submit(open.engine, &newer.known, &job) == GF_ERR_UNSUPPORTED);
  CHECK(std::string(gf_last_error_message()).find("request has a field of a newer version set") == 0);

  struct NewerEvent {
    gf_event known;
    std::uint64_t unknown[2];
  } event;
  std::memset(&event, 0xAA, sizeof event);
  event.known.struct_size = sizeof event;
  REQUIRE(gf_engine_poll(open.engine, &event.known) == GF_OK);
  CHECK(event.known.struct_size == sizeof event);
  CHECK(event.known.type == GF_EVENT_ACCEPTED);
  CHECK(event.unknown[0] == 0xAAAAAAAAAAAAAAAAu);
  // A struct that is too small for an event does not cost one.
  event.known.struct_size = 8;
  CHECK(gf_engine_poll(open.engine, &event.known) == GF_ERR_INVALID_ARGUMENT);
  event.known.struct_size = sizeof(gf_event);
  REQUIRE(gf_engine_poll(open.engine, &event.known) == GF_OK);
  CHECK(event.known.type == GF_EVENT_STARTED);

  struct NewerOptions {
    gf_engine_options known;
    std::uint64_t unknown;
  } options = {GF_ENGINE_OPTIONS_INIT, 0};
  options.known.struct_size = sizeof options;
  gf_engine* engine = nullptr;
  REQUIRE(gf_engine_open(&options.known, &engine) == GF_OK);
  CHECK(gf_engine_close(engine, long_us) == GF_OK);
  options.unknown = 1;
  CHECK(gf_engine_open(&options.known, &engine) == GF_ERR_UNSUPPORTED);
  CHECK(engine == nullptr);
}

TEST_CASE("every function that gives text keeps to the rule of buffers") {
  const FakeModels models({{"fake", "{}"}});
  Open open(models, [](gf_engine_options& options) { options.log_level = GF_LOG_DEBUG; });
  auto request = request_for("fake", "texts");
  const auto job = submit(open.engine, request);
  wait_for(open.engine, job);
  gf_config* config = nullptr;
  REQUIRE(gf_config_load(nullptr, 0, &config) == GF_OK);
  gf_image_release(reinterpret_cast<gf_image*>(1));  // For the last error.
  gf_log_record record = GF_LOG_RECORD_INIT;
  const char* folder = models.folder().c_str();
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  options.model_folders = &folder;
  options.model_folder_count = 1;
  options.backend_path = GAMEFORGE_FAKE_BACKEND;

  // Two migrators: one whose events nobody has taken, one whose status was read.
  const TemporaryFolder migrations;
  const std::string url = "sqlite:" + (migrations / "texts.db");
  const char* const file_name = "001_users.sql";
  const char* const file_text =
      "-- gameforge: up\nCREATE TABLE users (id INTEGER);\n-- gameforge: down\nDROP TABLE users;\n";
  gf_migrator_options migrator_options = GF_MIGRATOR_OPTIONS_INIT;
  migrator_options.url = url.c_str();
  migrator_options.file_names = &file_name;
  migrator_options.file_texts = &file_text;
  migrator_options.file_count = 1;
  gf_migrator* applied = nullptr;
  gf_migrator* looked_at = nullptr;
  REQUIRE(gf_migrator_open(&migrator_options, &applied) == GF_OK);
  REQUIRE(gf_migrator_open(&migrator_options, &looked_at) == GF_OK);
  REQUIRE(gf_migrator_apply(applied, nullptr) == GF_OK);
  REQUIRE(gf_migrator_wait(applied, 60'000'000, nullptr) == GF_OK);
  gf_migration_event migration_event = GF_MIGRATION_EVENT_INIT;
  for (;;) {  // The first events have no text.
    std::uint64_t size = 0;
    REQUIRE(gf_migrator_poll(applied, &migration_event, nullptr, &size) == GF_OK);
    if (size > 1) break;
    char nothing = 'x';
    REQUIRE(gf_migrator_poll(applied, &migration_event, &nothing, &size) == GF_OK);
  }
  REQUIRE(gf_migrator_status(looked_at) == GF_OK);
  REQUIRE(gf_migrator_wait(looked_at, 60'000'000, nullptr) == GF_OK);
  gf_image_release(reinterpret_cast<gf_image*>(1));  // For the last error again.

  // A queue with a job that has texts, and one page of two.
  gf_queue* queue = nullptr;
  REQUIRE(gf_queue_open(nullptr, &queue) == GF_OK);
  gf_queue_job queued = GF_QUEUE_JOB_INIT;
  queued.user = "somebody";
  for (int times = 0; times < 2; ++times) REQUIRE(gf_queue_enqueue(queue, &queued, 0, nullptr) == GF_OK);
  gf_queue_filter filter = GF_QUEUE_FILTER_INIT;
  filter.state = GF_QUEUE_WAITING;
  gf_queue_jobs* page = nullptr;
  REQUIRE(gf_queue_list(queue, &filter, nullptr, 1, &page) == GF_OK);

  gf_breaker* breaker = nullptr;
  REQUIRE(gf_breaker_open(nullptr, &breaker) == GF_OK);

  gf_logger_options logger_options = GF_LOGGER_OPTIONS_INIT;
  logger_options.poll_lines = 4;
  gf_logger* logger = nullptr;
  REQUIRE(gf_logger_open(&logger_options, &logger) == GF_OK);
  REQUIRE(gf_logger_log(logger, GF_LOG_INFO, "m", "a line") == GF_OK);
  REQUIRE(gf_logger_flush(logger, long_us) == GF_OK);

  // An aggregator with an alert: an hour of quiet, then many at once.
  gf_aggregator* aggregator = nullptr;
  REQUIRE(gf_aggregator_open(nullptr, &aggregator) == GF_OK);
  gf_error_report report = GF_ERROR_REPORT_INIT;
  report.status = GF_ERR_IO;
  report.unix_us =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  for (int index = 0; index < 160; ++index) {
    report.unix_us += index < 60 ? 60'000'000 : 10'000;
    REQUIRE(gf_aggregator_record(aggregator, &report) == GF_OK);
  }

  // A sheet of one frame, and its picture with a text.
  const std::uint8_t pixel[4] = {1, 2, 3, 255};
  gf_image* image = nullptr;
  REQUIRE(gf_image_create(1, 1, 4, pixel, &image) == GF_OK);
  gf_png_options png = GF_PNG_OPTIONS_INIT;
  png.parameters = "a recipe";
  const std::string picture = migrations / "picture.png";
  REQUIRE(gf_image_write_png(image, &png, picture.c_str()) == GF_OK);
  REQUIRE(gf_image_release(image) == GF_OK);
  const gf_sheet_frame frame = {0, 0, 1, 1, 0, 0, 1, 1};

  auto* engine = open.engine;
  const std::map<std::string, gf::test::TextCall> calls = {
      {"gf_logger_poll", [&](char* b, std::uint64_t* s) { return gf_logger_poll(logger, &record, b, s); }},
      {"gf_aggregator_top_json",
       [=](char* b, std::uint64_t* s) { return gf_aggregator_top_json(aggregator, 60'000'000, 3, b, s); }},
      {"gf_aggregator_poll_alert_json",
       [=](char* b, std::uint64_t* s) { return gf_aggregator_poll_alert_json(aggregator, b, s); }},
      {"gf_aggregator_report_json",
       [=](char* b, std::uint64_t* s) { return gf_aggregator_report_json(aggregator, b, s); }},
      {"gf_atlas_json", [&](char* b, std::uint64_t* s) { return gf_atlas_json(&frame, 1, 1, 1, nullptr, b, s); }},
      {"gf_png_read_parameters",
       [&](char* b, std::uint64_t* s) { return gf_png_read_parameters(picture.c_str(), b, s); }},
      {"gf_breaker_json", [=](char* b, std::uint64_t* s) { return gf_breaker_json(breaker, b, s); }},
      {"gf_queue_statistics_json", [=](char* b, std::uint64_t* s) { return gf_queue_statistics_json(queue, b, s); }},
      {"gf_queue_prometheus_text", [=](char* b, std::uint64_t* s) { return gf_queue_prometheus_text(queue, b, s); }},
      {"gf_queue_jobs_text",
       [=](char* b, std::uint64_t* s) { return gf_queue_jobs_text(page, 0, GF_QUEUE_TEXT_USER, 0, b, s); }},
      {"gf_queue_jobs_json", [=](char* b, std::uint64_t* s) { return gf_queue_jobs_json(page, 0, b, s); }},
      {"gf_queue_jobs_cursor", [=](char* b, std::uint64_t* s) { return gf_queue_jobs_cursor(page, b, s); }},
      {"gf_last_error_json", [](char* b, std::uint64_t* s) { return gf_last_error_json(b, s); }},
      {"gf_version_json", [](char* b, std::uint64_t* s) { return gf_version_json(b, s); }},
      {"gf_engine_statistics_json", [=](char* b, std::uint64_t* s) { return gf_engine_statistics_json(engine, b, s); }},
      {"gf_engine_poll_log", [&](char* b, std::uint64_t* s) { return gf_engine_poll_log(engine, &record, b, s); }},
      {"gf_config_json", [=](char* b, std::uint64_t* s) { return gf_config_json(config, b, s); }},
      {"gf_model_info_json", [=](char* b, std::uint64_t* s) { return gf_model_info_json(engine, "fake", b, s); }},
      {"gf_engine_memory_json", [=](char* b, std::uint64_t* s) { return gf_engine_memory_json(engine, b, s); }},
      {"gf_model_list_json", [=](char* b, std::uint64_t* s) { return gf_model_list_json(engine, b, s); }},
      {"gf_job_error_json", [&](char* b, std::uint64_t* s) { return gf_job_error_json(engine, &job, b, s); }},
      {"gf_job_report_json", [&](char* b, std::uint64_t* s) { return gf_job_report_json(engine, &job, b, s); }},
      {"gf_job_id_text", [&](char* b, std::uint64_t* s) { return gf_job_id_text(&job, b, s); }},
      {"gf_job_parameters_text",
       [&](char* b, std::uint64_t* s) { return gf_job_parameters_text(engine, &job, 0, b, s); }},
      {"gf_doctor_json", [&](char* b, std::uint64_t* s) { return gf_doctor_json(&options, b, s); }},
      {"gf_migrator_poll",
       [&](char* b, std::uint64_t* s) { return gf_migrator_poll(applied, &migration_event, b, s); }},
      {"gf_migrator_report_json", [=](char* b, std::uint64_t* s) { return gf_migrator_report_json(applied, b, s); }},
      {"gf_migrator_error_json", [=](char* b, std::uint64_t* s) { return gf_migrator_error_json(applied, b, s); }},
      {"gf_migrator_entry_text",
       [=](char* b, std::uint64_t* s) {
         return gf_migrator_entry_text(looked_at, 0, GF_MIGRATION_TEXT_APPLIED_AT, b, s);
       }},
      {"gf_migration_create",
       [&](char* b, std::uint64_t* s) { return gf_migration_create(migrations.path().c_str(), "a name", b, s); }},
  };
  std::set<std::string> names;
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    names.insert(name);
    std::uint64_t needed = 0;
    REQUIRE(call(nullptr, &needed) == GF_OK);
    REQUIRE(needed >= 2);
    std::vector<char> buffer(needed + 100, 'x');
    std::uint64_t size = 1;
    CHECK(call(buffer.data(), &size) == GF_ERR_BUFFER_TOO_SMALL);
    CHECK(size > 1);
    CHECK(std::count(buffer.begin(), buffer.end(), 'x') == static_cast<std::ptrdiff_t>(buffer.size()));
    if (name != "gf_last_error_json") {
      CHECK(std::string(gf_last_error_message()).find("the buffer holds 1 bytes") == 0);
      gf_image_release(reinterpret_cast<gf_image*>(1));
    }
    size = 0;
    CHECK(call(buffer.data(), &size) == GF_ERR_BUFFER_TOO_SMALL);
    gf_image_release(reinterpret_cast<gf_image*>(1));
    size = buffer.size();
    REQUIRE(call(buffer.data(), &size) == GF_OK);
    REQUIRE(size <= buffer.size());
    CHECK(std::strlen(buffer.data()) == size - 1);
    CHECK(
        std::all_of(buffer.begin() + static_cast<std::ptrdiff_t>(size), buffer.end(), [](char c) { return c == 'x'; }));
    CHECK(call(buffer.data(), nullptr) == GF_ERR_INVALID_ARGUMENT);
    if (name.find("_json") != std::string::npos) CHECK(json::accept(buffer.data()));
    if (name == "gf_job_id_text") CHECK(size == 33);
  }
  // Those that ask a server in Redis are tried where there is one, in shared_test.cpp.
  names.merge(std::set<std::string>{"gf_shared_breakers_json", "gf_error_store_top_json", "gf_error_store_show_json",
                                    "gf_error_store_tail_json", "gf_error_store_statistics_json"});
  CHECK(names == functions_with("char* buffer, uint64_t* size"));
  CHECK(gf_migrator_close(applied, 10'000'000) == GF_OK);
  CHECK(gf_migrator_close(looked_at, 10'000'000) == GF_OK);
  CHECK(gf_breaker_close(breaker) == GF_OK);
  CHECK(gf_logger_close(logger, long_us) == GF_OK);
  CHECK(gf_aggregator_close(aggregator) == GF_OK);
  CHECK(gf_queue_jobs_release(page) == GF_OK);
  CHECK(gf_queue_close(queue) == GF_OK);
  gf_config_release(config);
}

TEST_CASE("an id is the same as text and back, with dashes too") {
  const FakeModels models({{"fake", "{}"}});
  Open open(models);
  const auto job = submit(open.engine, request_for("fake", "id"));
  const auto text = text_of([&](char* b, std::uint64_t* s) { return gf_job_id_text(&job, b, s); });
  CHECK(text.size() == 32);
  CHECK(text[12] == '7');  // A UUID version 7.
  gf_job_id read;
  REQUIRE(gf_job_id_parse(text.c_str(), &read) == GF_OK);
  CHECK(read.high == job.high);
  CHECK(read.low == job.low);
  const auto dashed = text.substr(0, 8) + "-" + text.substr(8, 4) + "-" + text.substr(12, 4) + "-" +
                      text.substr(16, 4) + "-" + text.substr(20);
  REQUIRE(gf_job_id_parse(dashed.c_str(), &read) == GF_OK);
  CHECK(read.low == job.low);
}

TEST_CASE("the doctor names the backend and what is missing, with how to get it") {
  const FakeModels models({{"fake", "{}"}});
  const char* folder = models.folder().c_str();
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  options.model_folders = &folder;
  options.model_folder_count = 1;
  options.backend_path = GAMEFORGE_FAKE_BACKEND;
  const auto ask = [&] {
    return json::parse(text_of([&](char* b, std::uint64_t* s) { return gf_doctor_json(&options, b, s); }));
  };
  const auto healthy = ask();
  CHECK(healthy.at("problems").empty());
  CHECK(healthy.at("library").at("version") == "0.1.0");
  CHECK(healthy.at("library").at("parts").contains("libpng"));
  CHECK(healthy.dump().find("fake") != std::string::npos);

  options.backend_path = "/nowhere/libgameforge_torch.so";
  const auto sick = ask();
  CHECK_FALSE(sick.at("problems").empty());
  CHECK(sick.at("problems").dump().find("/nowhere/libgameforge_torch.so") != std::string::npos);
}

TEST_CASE("submit and poll beside busy executors") {
  const FakeModels models({{"fake", R"({"step_us": 500})"}});
  Open open(models, [](gf_engine_options& options) {
    options.executor_count = 2;
    options.queue_limit = 100000;
    options.retained_job_count = 1000;
  });
  const auto request = request_for("fake", "latency", 4);
  std::vector<std::int64_t> submits;
  std::vector<std::int64_t> polls;
  std::vector<gf_job_id> jobs;
  for (int index = 0; index < 1000; ++index) {
    gf_job_id job;
    auto start = steady_clock::now();
    const auto status = gf_engine_submit(open.engine, &request, &job);
    submits.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now() - start).count());
    REQUIRE(status == GF_OK);
    jobs.push_back(job);
    for (int poll = 0; poll < 3; ++poll) {
      gf_event event = GF_EVENT_INIT;
      start = steady_clock::now();
      gf_engine_poll(open.engine, &event);
      polls.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now() - start).count());
    }
  }
  for (const auto& job : jobs) gf_job_cancel(open.engine, &job, GF_CANCEL_NOW);
  const auto print = [](const char* name, std::vector<std::int64_t>& values) {
    std::sort(values.begin(), values.end());
    const auto at = [&values](double part) {
      return static_cast<double>(values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))]) /
             1000;
    };
    std::printf("%s: median %.1f us, p99 %.1f us, largest %.1f us\n", name, at(0.5), at(0.99), at(1));
  };
  // Printed, not judged: a test machine may be busy with anything. bench/ measures.
  print("submit", submits);
  print("poll", polls);
}
