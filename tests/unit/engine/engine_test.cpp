// The engine with real threads on the fake backend. Waits have deadlines far beyond what a loaded machine needs.
#include "engine/engine.hpp"

#include "../support/model_files.hpp"
#include "base/json.hpp"
#include "pipeline/backend_abi.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace gf;
using namespace gf::engine;
using gf::pipeline::RequestDraft;
using gf::test::file_text;
using gf::test::TemporaryFolder;
using gf::test::write_file;
using gf::test::write_model;

namespace {

constexpr std::int64_t long_us = 60'000'000;

/// An engine on a folder of fake models.
struct World {
  TemporaryFolder folder;
  std::shared_ptr<cache::Ledger> ledger = std::make_shared<cache::Ledger>();
  EngineOptions options;
  std::shared_ptr<Engine> engine;

  World() {
    options.model_folders = {folder.path()};
    options.backend_path = GAMEFORGE_FAKE_BACKEND;
    options.thread_count = 1;
    options.ledger = ledger;
  }
  ~World() {
    if (!engine) return;
    (void)engine->close(long_us);
    // What was never released would hang threads that outlive the ledger.
    CHECK(threads() == 0);
  }

  std::string model(const std::string& name, const std::string& settings = "{}", const std::string& own = "") {
    write_model(folder / name, settings, own);
    return name;
  }
  void release(const std::string& name) { write_file(folder / name + "/release", ""); }
  void open() {
    auto opened = Engine::open(options);
    REQUIRE(opened.has_value());
    engine = opened.value();
  }
  Json statistics() const { return Json::parse(engine->statistics_json()); }
  int threads() const { return statistics().at("threads"); }
};

RequestDraft draft_of(std::string_view model, std::string_view prompt = "a red potion", std::uint32_t steps = 4) {
  RequestDraft draft;
  draft.model = model;
  draft.prompt = prompt;
  draft.steps = steps;
  draft.width_px = 16;
  draft.height_px = 16;
  return draft;
}

JobId submit(Engine& engine, const RequestDraft& draft) {
  auto job = engine.submit(draft);
  REQUIRE_MESSAGE(job.has_value(), (job ? "" : job.error().message));
  return job.value();
}

JobInfo wait_over(Engine& engine, const JobId& job) {
  auto answer = engine.job_wait(job, long_us);
  REQUIRE(answer.has_value());
  REQUIRE(answer.value().over);
  return answer.value().info;
}

Error error_of(Engine& engine, const JobId& job) {
  auto error = engine.job_error(job);
  REQUIRE(error.has_value());
  REQUIRE(error.value().has_value());
  return *error.value();
}

/// Waits until `condition` holds: for states that no call of the engine waits for.
bool eventually(const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(long_us);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

bool reaches(Engine& engine, const JobId& job, Stage stage) {
  return eventually([&] {
    auto info = engine.job_info(job);
    return info.has_value() && info.value().state == JobState::running && info.value().stage == stage;
  });
}

bool is_terminal(EventType type) {
  return type == EventType::rejected || type == EventType::done || type == EventType::failed ||
         type == EventType::cancelled;
}

/// What is wrong with the events of one job, in the order in which they came; empty when nothing is.
std::string fault_in(const std::vector<Event>& events) {
  bool accepted = false;
  bool started = false;
  bool over = false;
  std::uint32_t image = 0;
  std::int64_t at_us = 0;
  for (const auto& event : events) {
    if (over) return "something comes after the end";
    if (event.at_us < at_us) return "time runs back";
    at_us = event.at_us;
    switch (event.type) {
      case EventType::accepted:
        if (accepted) return "accepted twice";
        accepted = true;
        break;
      case EventType::started:
        if (!accepted || started) return "started before it was accepted, or twice";
        started = true;
        break;
      case EventType::progress:
        if (!started) return "progress before the start";
        if (event.image < image) return "progress of an earlier image";
        image = event.image;
        break;
      case EventType::image:
        if (!started) return "an image before the start";
        image = event.image;
        break;
      case EventType::rejected:
        if (accepted) return "rejected after it was accepted";
        over = true;
        break;
      case EventType::done:
      case EventType::failed:
        if (!started) return "an end without a start";
        over = true;
        break;
      case EventType::cancelled:
        if (!accepted) return "cancelled without having been accepted";
        over = true;
        break;
      case EventType::memory_pressure:
        break;  // No job's.
    }
  }
  return over ? "" : "no end";
}

/// Everything that is in the queue of events now.
std::map<JobId, std::vector<Event>> poll_all(Engine& engine) {
  std::map<JobId, std::vector<Event>> out;
  while (auto event = engine.poll_event()) out[event->job].push_back(*event);
  return out;
}

}  // namespace

TEST_CASE("a request becomes images, each with its seed, and every event in its order") {
  World world;
  world.model("tiles");
  world.open();
  auto draft = draft_of("tiles");
  draft.seed = 7;
  draft.image_count = 3;
  draft.host_tag = 99;
  draft.keep_latents = true;
  const auto job = submit(*world.engine, draft);
  const auto info = wait_over(*world.engine, job);
  CHECK(info.state == JobState::done);
  CHECK(info.status == Status::ok);
  CHECK(info.images_ready == 3);
  CHECK(info.image_count == 3);
  CHECK(info.seed == 7);
  CHECK(info.host_tag == 99);
  CHECK(info.total_us > 0);
  std::set<std::vector<std::uint8_t>> pixels;
  for (std::uint32_t index = 0; index < 3; ++index) {
    const auto image = world.engine->job_image(job, index);
    REQUIRE(image.has_value());
    CHECK(image.value()->seed == 7 + index);
    CHECK(image.value()->width == 16);
    CHECK(image.value()->rgba.size() == 16 * 16 * 4);
    pixels.insert(image.value()->rgba);
    const auto latents = world.engine->job_latents(job, index);
    REQUIRE(latents.has_value());
    CHECK(latents.value()->size() == 4 * 8 * 8);
  }
  CHECK(pixels.size() == 3);
  CHECK(world.engine->job_image(job, 3).error().status == Status::not_found);
  CHECK(world.engine->job_latents(job, 3).error().status == Status::not_found);
  const auto events = poll_all(*world.engine);
  REQUIRE(events.size() == 1);
  CHECK(fault_in(events.at(job)) == "");
  CHECK(events.at(job).back().type == EventType::done);
  CHECK(std::ranges::all_of(events.at(job), [](const Event& event) { return event.host_tag == 99; }));
  CHECK_FALSE(world.engine->job_error(job).value().has_value());
}

TEST_CASE("the same request gives the same pixels, whatever runs beside it") {
  World world;
  world.model("tiles", R"({"step_us": 100})");
  world.options.executor_count = 3;
  world.open();
  const auto alone = submit(*world.engine, draft_of("tiles"));
  wait_over(*world.engine, alone);
  const auto expected = world.engine->job_image(alone, 0).value()->rgba;
  std::vector<JobId> same;
  for (int round = 0; round < 20; ++round) {
    same.push_back(submit(*world.engine, draft_of("tiles")));
    submit(*world.engine, draft_of("tiles", "something else"));
  }
  for (const auto& job : same) {
    CHECK(wait_over(*world.engine, job).state == JobState::done);
    CHECK(world.engine->job_image(job, 0).value()->rgba == expected);
  }
}

TEST_CASE("eight threads submit to two executors, and every one of 320 jobs is accounted for") {
  World world;
  world.model("good", R"({"step_us": 20})");
  world.model("bad", R"({"fail_at_step": 2})");
  world.options.executor_count = 2;
  world.options.retained_job_count = 1000;
  world.open();
  std::mutex mutex;
  std::map<JobId, int> submitted;  // Guarded by mutex, with what is to become of the job.
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      for (int index = 0; index < 40; ++index) {
        const int kind = (thread + index) % 4;
        auto draft = draft_of(kind == 1 ? "bad" : kind == 2 ? "missing" : "good");
        draft.host_tag = static_cast<std::uint64_t>(kind);
        const auto job = world.engine->submit(draft);
        if (kind == 3 && job) (void)world.engine->job_cancel(job.value(), CancelMode::now);
        const std::lock_guard lock(mutex);
        if (job) submitted[job.value()] = kind;
      }
    });
  }
  std::map<JobId, std::vector<Event>> events;
  std::size_t ends = 0;
  while (ends < 320) {
    const auto event = world.engine->wait_event(long_us);
    REQUIRE(event.has_value());
    REQUIRE(event.value().has_value());
    events[event.value()->job].push_back(*event.value());
    if (is_terminal(event.value()->type)) ++ends;
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(submitted.size() == 320);
  REQUIRE(events.size() == 320);
  std::map<int, int> by_kind;
  for (const auto& [job, kind] : submitted) {
    const auto& of_job = events.at(job);
    REQUIRE(fault_in(of_job) == "");
    CHECK(of_job.back().host_tag == static_cast<std::uint64_t>(kind));
    const auto end = of_job.back().type;
    const auto expected = kind == 0   ? EventType::done
                          : kind == 1 ? EventType::failed
                          : kind == 2 ? EventType::rejected
                                      : EventType::cancelled;
    // A cancellation may come when the job is over already.
    if (kind == 3) {
      CHECK((end == EventType::cancelled || end == EventType::done));
    } else {
      CHECK(end == expected);
    }
  }
  const auto jobs = world.statistics().at("jobs");
  CHECK(jobs.at("submitted") == 320);
  CHECK(jobs.at("rejected") == 80);
  CHECK(jobs.at("failed") == 80);
  CHECK(jobs.at("waiting") == 0);
  CHECK(jobs.at("running") == 0);
  CHECK(jobs.at("accepted").get<int>() ==
        jobs.at("done").get<int>() + jobs.at("failed").get<int>() + jobs.at("cancelled").get<int>());
}

TEST_CASE("a cancellation is seen in every stage") {
  for (const auto& [name, stage] : {std::pair{"load", Stage::loading}, std::pair{"encode", Stage::encoding},
                                    std::pair{"step", Stage::sampling}, std::pair{"decode", Stage::decoding}}) {
    CAPTURE(name);
    World world;
    world.model("held", std::string(R"({"hold_stage": ")") + name + "\"}");
    world.open();
    const auto job = submit(*world.engine, draft_of("held"));
    REQUIRE(reaches(*world.engine, job, stage));
    REQUIRE(world.engine->job_cancel(job, CancelMode::now).has_value());
    const auto info = wait_over(*world.engine, job);
    CHECK(info.state == JobState::cancelled);
    CHECK(info.status == Status::cancelled);
    CHECK(info.images_ready == 0);
    CHECK(world.engine->job_image(job, 0).error().status == Status::not_found);
    const auto events = poll_all(*world.engine);
    CHECK(fault_in(events.at(job)) == "");
    // The wish stays the job's own: nothing of it reaches the next one.
    world.release("held");
    CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("held"))).state == JobState::done);
    CHECK(world.engine->job_cancel(job, CancelMode::now).has_value());
  }
}

TEST_CASE("a cancellation at once after submit always ends the job as cancelled, 400 rounds") {
  World world;
  world.model("slow", R"({"step_us": 2000})");
  world.options.executor_count = 2;
  world.open();
  for (int round = 0; round < 400; ++round) {
    const auto job = submit(*world.engine, draft_of("slow", "round", 1000));
    REQUIRE(world.engine->job_cancel(job, CancelMode::now).has_value());
    REQUIRE(wait_over(*world.engine, job).state == JobState::cancelled);
  }
  for (const auto& [job, events] : poll_all(*world.engine)) REQUIRE(fault_in(events) == "");
}

TEST_CASE("a cancellation after the image lets the one that is being made be finished") {
  World world;
  world.model("held", R"({"hold_stage": "step"})");
  world.open();
  auto draft = draft_of("held");
  draft.image_count = 3;
  const auto job = submit(*world.engine, draft);
  REQUIRE(reaches(*world.engine, job, Stage::sampling));
  REQUIRE(world.engine->job_cancel(job, CancelMode::after_image).has_value());
  world.release("held");
  const auto info = wait_over(*world.engine, job);
  CHECK(info.state == JobState::cancelled);
  CHECK(info.images_ready == 1);
  CHECK(world.engine->job_image(job, 0).has_value());
  CHECK(world.engine->job_image(job, 1).error().status == Status::not_found);
}

TEST_CASE("now overrides an earlier after-image, and not the other way round") {
  World world;
  world.model("held", R"({"hold_stage": "step"})");
  world.open();
  const auto job = submit(*world.engine, draft_of("held"));
  REQUIRE(reaches(*world.engine, job, Stage::sampling));
  REQUIRE(world.engine->job_cancel(job, CancelMode::after_image).has_value());
  REQUIRE(world.engine->job_cancel(job, CancelMode::now).has_value());
  REQUIRE(world.engine->job_cancel(job, CancelMode::after_image).has_value());
  CHECK(wait_over(*world.engine, job).images_ready == 0);  // Though it is held for ever.
  CHECK(world.engine->job_cancel(job, static_cast<CancelMode>(7)).error().status == Status::unsupported);
  CHECK(world.engine->job_cancel(JobId{1, 2}, CancelMode::now).error().status == Status::not_found);
}

TEST_CASE("a job that waits in the queue is cancelled without an executor") {
  World world;
  world.model("held", R"({"hold_stage": "step"})");
  world.open();
  const auto running = submit(*world.engine, draft_of("held"));
  REQUIRE(reaches(*world.engine, running, Stage::sampling));
  const auto waiting = submit(*world.engine, draft_of("held"));
  REQUIRE(world.engine->job_cancel(waiting, CancelMode::after_image).has_value());
  CHECK(wait_over(*world.engine, waiting).state == JobState::cancelled);
  CHECK(world.engine->job_info(running).value().state == JobState::running);
  world.release("held");
  CHECK(wait_over(*world.engine, running).state == JobState::done);
}

TEST_CASE("a model is loaded once though four jobs want it at the same time") {
  World world;
  world.model("one", R"({"load_us": 20000})");
  write_file(world.folder / "one/loads", "");
  world.options.executor_count = 4;
  world.open();
  std::vector<JobId> jobs;
  for (int index = 0; index < 8; ++index) jobs.push_back(submit(*world.engine, draft_of("one")));
  for (const auto& job : jobs) CHECK(wait_over(*world.engine, job).state == JobState::done);
  CHECK(file_text(world.folder / "one/loads") == "load\n");
}

TEST_CASE("when the job that loads is cancelled, one that waits for it loads; one that waits can be cancelled") {
  World world;
  world.model("held", R"({"hold_stage": "load"})");
  world.options.executor_count = 3;
  world.open();
  const auto first = submit(*world.engine, draft_of("held"));
  REQUIRE(reaches(*world.engine, first, Stage::loading));
  const auto second = submit(*world.engine, draft_of("held"));
  const auto third = submit(*world.engine, draft_of("held"));
  REQUIRE(reaches(*world.engine, second, Stage::loading));
  REQUIRE(reaches(*world.engine, third, Stage::loading));
  REQUIRE(world.engine->job_cancel(second, CancelMode::now).has_value());
  CHECK(wait_over(*world.engine, second).state == JobState::cancelled);
  REQUIRE(world.engine->job_cancel(first, CancelMode::now).has_value());
  CHECK(wait_over(*world.engine, first).state == JobState::cancelled);
  world.release("held");
  CHECK(wait_over(*world.engine, third).state == JobState::done);
}

TEST_CASE("a load that fails fails those that waited for it, and is tried again by the next job") {
  World world;
  world.model("weak", R"({"fail_stage": "load", "fail_status": 401, "fail_message": "weights are cut", "fail_loads": 1,
                          "load_us": 20000})");
  write_file(world.folder / "weak/loads", "");
  world.options.executor_count = 2;
  world.open();
  const auto first = submit(*world.engine, draft_of("weak"));
  CHECK(wait_over(*world.engine, first).status == Status::corrupt_file);
  CHECK(error_of(*world.engine, first).message == "weights are cut");
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("weak"))).state == JobState::done);
}

TEST_CASE("whatever the backend throws or fails with becomes that job's error, and the next job runs") {
  struct Row {
    std::string settings;
    Status status;
    std::string part;
  };
  std::vector<Row> rows;
  for (const std::string stage : {"load", "encode", "start", "step", "decode", "latents"}) {
    rows.push_back({R"({"throw": "bad_alloc", "throw_stage": ")" + stage + "\"}", Status::out_of_host_memory, stage});
    rows.push_back({R"({"throw": "runtime_error", "throw_stage": ")" + stage + "\"}", Status::internal, "throws"});
    rows.push_back({R"({"throw": "int", "throw_stage": ")" + stage + "\"}", Status::internal, stage});
    rows.push_back({R"({"fail_status": 302, "fail_stage": ")" + stage + "\"}", Status::out_of_device_memory, stage});
    rows.push_back({R"({"fail_status": 77777, "fail_stage": ")" + stage + "\"}", Status::internal, "77777"});
    rows.push_back({R"({"give_up_stage": ")" + stage + "\"}", Status::internal, "nobody asked"});
  }
  for (const std::string stage : {"load", "encode", "start"}) {
    rows.push_back({R"({"forget_stage": ")" + stage + "\"}", Status::internal, "gave nothing"});
  }
  rows.push_back({R"({"stuck": true})", Status::internal, "steps left"});
  rows.push_back({R"({"not_finite": true})", Status::not_finite, "not finite"});
  World world;
  world.model("good");
  for (std::size_t index = 0; index < rows.size(); ++index) {
    world.model("row" + std::to_string(index), rows[index].settings);
  }
  world.open();
  for (std::size_t index = 0; index < rows.size(); ++index) {
    CAPTURE(rows[index].settings);
    auto draft = draft_of("good");
    const auto name = "row" + std::to_string(index);
    draft.model = name;
    draft.keep_latents = true;
    const auto job = submit(*world.engine, draft);
    const auto info = wait_over(*world.engine, job);
    CHECK(info.state == JobState::failed);
    CHECK(info.status == rows[index].status);
    const auto error = error_of(*world.engine, job);
    CHECK(error.status == rows[index].status);
    CHECK_MESSAGE(error.message.find(rows[index].part) != std::string::npos, error.message);
    CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("good"))).state == JobState::done);
  }
  for (const auto& [job, events] : poll_all(*world.engine)) CHECK(fault_in(events) == "");
}

TEST_CASE("a backend that is not there, or of another kind, fails the job with a status that says so") {
  struct Row {
    std::string path;
    Status status;
    std::string part;
  };
  const std::string folder = std::filesystem::path(GAMEFORGE_FAKE_BACKEND).parent_path();
  const std::vector<Row> rows = {
      {folder + "/libnothing.so", Status::backend_missing, "libnothing.so"},
      {folder, Status::backend_missing, "not a regular file"},
      {folder + "/libgameforge_other_version_backend.so", Status::backend_version_clash,
       std::to_string(GF_BACKEND_ABI_VERSION + 1000)},
      {folder + "/libgameforge_no_backend.so", Status::backend_version_clash, "does not say its version"},
      {folder + "/libgameforge_unresolved_backend.so", Status::symbol_clash, "gameforge_test_symbol_that_nobody_has"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.path);
    World world;
    world.model("tiles");
    world.options.backend_path = row.path;
    world.open();
    for (int round = 0; round < 2; ++round) {
      const auto job = submit(*world.engine, draft_of("tiles"));
      CHECK(wait_over(*world.engine, job).status == row.status);
      const auto error = error_of(*world.engine, job);
      CHECK_MESSAGE(error.message.find(row.part) != std::string::npos, error.message);
      CHECK(error.message.find(row.path) != std::string::npos);
    }
  }
}

TEST_CASE("what only the model can tell is judged before the job is queued") {
  World world;
  world.model("tiles");
  world.open();
  const auto refused = [&](const RequestDraft& draft, Status status, const std::string& part) {
    const auto job = submit(*world.engine, draft);
    CHECK(wait_over(*world.engine, job).state == JobState::rejected);
    const auto error = error_of(*world.engine, job);
    CHECK(error.status == status);
    CHECK_MESSAGE(error.message.find(part) != std::string::npos, error.message);
    const auto events = poll_all(*world.engine);
    REQUIRE(events.at(job).size() == 1);
    CHECK(events.at(job)[0].type == EventType::rejected);
    CHECK(events.at(job)[0].status == status);
  };
  refused(draft_of("nobody"), Status::not_found, "nobody");
  auto odd = draft_of("tiles");
  odd.width_px = 17;
  refused(odd, Status::invalid_argument, "width_px is 17");
  auto latents = draft_of("tiles");
  const std::vector<float> few(10, 0.5F);
  latents.initial_latents = few.data();
  latents.initial_latent_count = few.size();
  refused(latents, Status::invalid_argument, "initial_latent_count is 10");
  const std::vector<float> enough(4 * 8 * 8, 0.5F);
  latents.initial_latents = enough.data();
  latents.initial_latent_count = enough.size();
  const auto with = submit(*world.engine, latents);
  const auto without = submit(*world.engine, draft_of("tiles"));
  REQUIRE(wait_over(*world.engine, with).state == JobState::done);
  REQUIRE(wait_over(*world.engine, without).state == JobState::done);
  CHECK(world.engine->job_image(with, 0).value()->rgba != world.engine->job_image(without, 0).value()->rgba);
}

TEST_CASE("what a request leaves out comes from the model's gameforge.json, and is in the report") {
  World world;
  world.model("tiles", R"({"weight_bytes": 1000, "activation_bytes": 500})",
              R"({"name": "Tiles", "defaults": {"width": 24, "height": 32, "steps": 5, "cfg_scale": 4.5,
                  "sampler": "Euler a Karras", "negative_prompt": "blurry"}, "licence": "CC0-1.0"})");
  world.open();
  RequestDraft draft;
  draft.model = "tiles";
  draft.prompt = "a chest";
  draft.seed = 11;
  const auto job = submit(*world.engine, draft);
  const auto info = wait_over(*world.engine, job);
  REQUIRE(info.state == JobState::done);
  CHECK(info.width_px == 24);
  CHECK(info.height_px == 32);
  const auto report = Json::parse(world.engine->job_report_json(job).value());
  const auto& request = report.at("request");
  CHECK(request.at("steps") == 5);
  CHECK(request.at("cfg_scale") == 4.5);
  CHECK(request.at("sampler") == "euler_a");
  CHECK(request.at("schedule") == "karras");
  CHECK(request.at("negative_prompt") == "blurry");
  CHECK(report.at("state") == "done");
  CHECK(report.at("model").at("name") == "Tiles");
  CHECK(report.at("model").at("family") == "fake");
  CHECK(report.at("model").at("weight_bytes") == 1000);
  CHECK(report.at("backend").at("version") == "fake 1");
  CHECK(report.at("backend").at("build").at("fake") == true);
  CHECK(report.at("images").at(0).at("seed") == 11);
  CHECK(report.at("images").at(0).at("steps") == 5);
  CHECK(report.at("threads") == 1);
  CHECK(report.at("memory").at("ledger_peak_bytes") == 1500);
  CHECK(report.at("memory").at("peak_resident_bytes") > 0);
  CHECK(report.at("error").is_null());
  const auto text = world.engine->job_parameters_text(job, 0).value();
  CHECK(text.starts_with("a chest\nNegative prompt: blurry\nSteps: 5, Sampler: Euler a"));
  CHECK(text.find("Seed: 11") != std::string::npos);
  CHECK(world.engine->job_parameters_text(job, 1).error().status == Status::not_found);
}

TEST_CASE("what the backend has to say of a job's prompts is in that job's report") {
  World world;
  world.model("tiles", R"({"warnings": "the first\nthe second"})");
  world.open();
  for (int round = 0; round < 2; ++round) {
    RequestDraft draft;
    draft.model = "tiles";
    const auto job = submit(*world.engine, draft);
    REQUIRE(wait_over(*world.engine, job).state == JobState::done);
    const auto report = Json::parse(world.engine->job_report_json(job).value());
    CHECK(report.at("warnings") == Json({"the first", "the second"}));
  }
}

TEST_CASE("the queue's limit is exact, and a refused job leaves nothing behind") {
  World world;
  world.model("held", R"({"hold_stage": "step"})");
  world.options.queue_limit = 3;
  world.open();
  const auto running = submit(*world.engine, draft_of("held"));
  REQUIRE(reaches(*world.engine, running, Stage::sampling));
  std::vector<JobId> waiting;
  for (int index = 0; index < 3; ++index) waiting.push_back(submit(*world.engine, draft_of("held")));
  const auto refused = world.engine->submit(draft_of("held"));
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::queue_full);
  CHECK(refused.error().message.find("3 jobs") != std::string::npos);
  CHECK(world.statistics().at("jobs").at("submitted") == 4);
  CHECK(world.statistics().at("jobs").at("waiting") == 3);
  // A place is free as soon as one is cancelled.
  REQUIRE(world.engine->job_cancel(waiting[1], CancelMode::now).has_value());
  wait_over(*world.engine, waiting[1]);
  submit(*world.engine, draft_of("held"));
  CHECK(world.engine->submit(draft_of("held")).error().status == Status::queue_full);
  world.release("held");
  CHECK(wait_over(*world.engine, running).state == JobState::done);
}

TEST_CASE("priorities go first, users of one take turns, and the report says which it was") {
  World world;
  world.model("held", R"({"hold_stage": "load"})");
  world.model("fake");
  world.options.executor_count = 1;
  world.open();
  auto& engine = *world.engine;
  const auto first = submit(engine, draft_of("held"));
  REQUIRE(reaches(engine, first, Stage::loading));
  const auto put_in = [&](queue::Priority priority, std::string_view user) {
    const auto job = engine.submit(draft_of("fake"), {.priority = priority, .user = user});
    REQUIRE(job.has_value());
    // One after the other through intake, so that the order is known.
    REQUIRE(eventually([&] { return engine.job_info(job.value()).value().state == JobState::queued; }));
    return job.value();
  };
  const auto low = put_in(queue::Priority::low, "ann");
  const auto ann_1 = put_in(queue::Priority::normal, "ann");
  const auto ann_2 = put_in(queue::Priority::normal, "ann");
  const auto bob = put_in(queue::Priority::normal, "bob");
  const auto high = put_in(queue::Priority::high, "bob");
  world.release("held");
  for (const auto& job : {first, low, ann_1, ann_2, bob, high}) CHECK(wait_over(engine, job).state == JobState::done);
  std::vector<JobId> started;
  while (const auto event = engine.poll_event()) {
    if (event->type == EventType::started) started.push_back(event->job);
  }
  CHECK(started == std::vector<JobId>{first, high, ann_1, bob, ann_2, low});
  const auto report = Json::parse(engine.job_report_json(high).value());
  CHECK(report.at("priority") == "high");
  CHECK(report.at("user") == "bob");
  CHECK(Json::parse(engine.job_report_json(first).value()).at("user").is_null());
}

TEST_CASE("places that are kept for high priority are taken by nobody else") {
  World world;
  world.model("held", R"({"hold_stage": "load"})");
  world.options.executor_count = 1;
  world.options.queue_limit = 3;
  world.options.reserved_for_high = 2;
  world.open();
  auto& engine = *world.engine;
  REQUIRE(reaches(engine, submit(engine, draft_of("held")), Stage::loading));
  submit(engine, draft_of("held"));
  const auto refused = engine.submit(draft_of("held"));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().status == Status::queue_full);
  CHECK(refused.error().message.find("2 places are for high priority") != std::string::npos);
  for (int place = 0; place < 2; ++place) {
    CHECK(engine.submit(draft_of("held"), {.priority = queue::Priority::high}).has_value());
  }
  CHECK_FALSE(engine.submit(draft_of("held"), {.priority = queue::Priority::high}).has_value());
  world.release("held");
}

TEST_CASE("who submits too fast is rejected with the time to wait, by user and class") {
  World world;
  world.model("fake");
  world.options.submit_rates.per_user = queue::TokenBucketLimits{1, 3600'000'000, 2};
  world.options.submit_rates.user_classes["paying"] = queue::TokenBucketLimits{1, 3600'000'000, 4};
  world.open();
  auto& engine = *world.engine;
  const auto count_done = [&](std::string_view user, std::string_view user_class) {
    int done = 0;
    for (int times = 0; times < 6; ++times) {
      const auto job = engine.submit(draft_of("fake"), {.user = user, .user_class = user_class});
      REQUIRE(job.has_value());
      const auto info = wait_over(engine, job.value());
      if (info.state == JobState::done) {
        ++done;
        continue;
      }
      CHECK(info.state == JobState::rejected);
      CHECK(info.status == Status::rate_limited);
      const auto error = error_of(engine, job.value());
      CHECK(error.retry_after_us > 3000'000'000);
      CHECK(error.message.find(user) != std::string::npos);
    }
    return done;
  };
  CHECK(count_done("ann", "") == 2);
  CHECK(count_done("bob", "paying") == 4);
  CHECK(count_done("cid", "unknown class") == 2);
  // Loading ahead is no submission.
  CHECK(wait_over(engine, engine.load_ahead("fake", 0).value()).state == JobState::done);
  int waits = 0;
  while (const auto event = engine.poll_event()) {
    CHECK((event->type == EventType::rejected) == (event->retry_after_us > 0));
    waits += event->retry_after_us > 0 ? 1 : 0;
  }
  CHECK(waits == 10);
}

TEST_CASE("a request that is sent again with its key is the job that it was") {
  World world;
  world.model("fake");
  world.options.retained_job_count = 1;
  world.open();
  auto& engine = *world.engine;
  const Queueing keyed{.idempotency_key = "once"};
  const auto first = engine.submit(draft_of("fake"), keyed).value();
  CHECK(engine.submit(draft_of("fake"), keyed).value() == first);
  CHECK(wait_over(engine, first).state == JobState::done);
  CHECK(engine.submit(draft_of("fake"), keyed).value() == first);
  CHECK(engine.submit(draft_of("fake"), {.idempotency_key = "twice"}).value() != first);
  CHECK(world.statistics().at("jobs").at("submitted") == 2);
  // The key goes with the job: forgotten, or pushed out by a later one.
  if (engine.job_info(first).has_value()) CHECK(engine.forget_job(first).has_value());
  const auto second = engine.submit(draft_of("fake"), keyed).value();
  CHECK(second != first);
  CHECK(wait_over(engine, second).state == JobState::done);
  // Names from outside are looked at.
  const auto refused = engine.submit(draft_of("fake"), {.user = "a\nb"});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().status == Status::invalid_argument);
  CHECK(refused.error().message.find("user") != std::string::npos);
}

TEST_CASE("only so many finished jobs are kept, the oldest goes first, and those that run stay") {
  World world;
  world.model("good");
  world.model("held", R"({"hold_stage": "step"})");
  world.options.retained_job_count = 3;
  world.options.executor_count = 2;
  world.open();
  const auto held = submit(*world.engine, draft_of("held"));
  REQUIRE(reaches(*world.engine, held, Stage::sampling));
  std::vector<JobId> jobs;
  for (int index = 0; index < 6; ++index) {
    jobs.push_back(submit(*world.engine, draft_of("good")));
    wait_over(*world.engine, jobs.back());
  }
  for (int index = 0; index < 3; ++index)
    CHECK(world.engine->job_info(jobs[index]).error().status == Status::not_found);
  for (int index = 3; index < 6; ++index) CHECK(world.engine->job_image(jobs[index], 0).has_value());
  CHECK(world.engine->job_info(held).value().state == JobState::running);
  CHECK(world.engine->forget_job(held).error().status == Status::wrong_state);
  const auto image = world.engine->job_image(jobs[5], 0).value();
  CHECK(world.engine->forget_job(jobs[5]).has_value());
  CHECK(world.engine->forget_job(jobs[5]).error().status == Status::not_found);
  CHECK(image->rgba.size() == 16 * 16 * 4);
  // What was accepted and how it ended is told of all of them.
  const auto events = poll_all(*world.engine);
  for (const auto& job : jobs) {
    REQUIRE(events.contains(job));
    CHECK(events.at(job).front().type == EventType::accepted);
    CHECK(events.at(job).back().type == EventType::done);
  }
  world.release("held");
  CHECK(wait_over(*world.engine, held).state == JobState::done);
}

TEST_CASE("of progress and images only the newest is kept, so that nobody has to poll") {
  World world;
  world.model("tiles");
  world.open();
  auto draft = draft_of("tiles", "long", 500);
  draft.image_count = 4;
  const auto job = submit(*world.engine, draft);
  wait_over(*world.engine, job);
  CHECK(world.statistics().at("events_waiting") == 5);
  const auto events = poll_all(*world.engine).at(job);
  REQUIRE(events.size() == 5);
  CHECK(fault_in(events) == "");
  CHECK(events[0].type == EventType::accepted);
  CHECK(events[1].type == EventType::started);
  const auto image = std::ranges::find(events, EventType::image, &Event::type);
  REQUIRE(image != events.end());
  CHECK(image->image == 3);
}

TEST_CASE("close with jobs in flight ends them as cancelled within its time") {
  World world;
  world.model("slow", R"({"step_us": 5000})");
  world.options.executor_count = 2;
  world.open();
  std::vector<JobId> jobs;
  for (int index = 0; index < 20; ++index) jobs.push_back(submit(*world.engine, draft_of("slow", "x", 1000)));
  std::thread waiter([&] {
    const auto answer = world.engine->job_wait(jobs[0], long_us);
    CHECK(answer.error().status == Status::invalid_handle);
  });
  std::thread event_waiter([&] {
    for (;;) {
      const auto event = world.engine->wait_event(long_us);
      if (event) continue;
      CHECK(event.error().status == Status::invalid_handle);
      return;
    }
  });
  REQUIRE(reaches(*world.engine, jobs[0], Stage::sampling));
  CHECK(world.engine->close(long_us).has_value());
  waiter.join();
  event_waiter.join();
  CHECK(world.threads() == 0);
  CHECK(world.ledger->account(0).total == 0);
  const auto counts = world.statistics().at("jobs");
  CHECK(counts.at("cancelled") == 20);
  CHECK(counts.at("accepted") == 20);
  CHECK(counts.at("waiting") == 0);
  CHECK(counts.at("running") == 0);
  CHECK(world.engine->submit(draft_of("slow")).error().status == Status::shutting_down);
  CHECK(world.engine->job_info(jobs[0]).error().status == Status::invalid_handle);
  CHECK(world.engine->close(0).error().status == Status::invalid_handle);
}

TEST_CASE("close does not wait for a backend that is deaf, and what is left ends behind it") {
  World world;
  world.model("deaf", R"({"hold_stage": "step", "deaf": true, "weight_bytes": 100})");
  std::atomic<int> calls{0};
  world.options.event_callback = [&](const Event&) { ++calls; };
  world.open();
  const auto job = submit(*world.engine, draft_of("deaf"));
  REQUIRE(reaches(*world.engine, job, Stage::sampling));
  const auto begun = std::chrono::steady_clock::now();
  const auto closed = world.engine->close(20'000);
  const auto took = std::chrono::steady_clock::now() - begun;
  REQUIRE(closed.has_error());
  CHECK(closed.error().status == Status::timed_out);
  CHECK(took >= std::chrono::milliseconds(20));
  CHECK(took < std::chrono::seconds(20));
  const int seen = calls;
  CHECK(world.threads() > 0);
  world.release("deaf");
  CHECK(eventually([&] { return world.threads() == 0; }));
  CHECK(calls == seen);  // No callback begins after close.
  const std::weak_ptr<Engine> gone = world.engine;
  world.engine.reset();
  CHECK(gone.expired());
  // The model goes with the last thread's share.
  CHECK(eventually([&] { return world.ledger->account(0).total == 0; }));
}

TEST_CASE("an engine that is dropped without close ends by itself") {
  World world;
  world.model("slow", R"({"step_us": 2000, "weight_bytes": 7})");
  world.open();
  const auto job = submit(*world.engine, draft_of("slow", "x", 1000));
  REQUIRE(reaches(*world.engine, job, Stage::sampling));
  world.engine.reset();
  CHECK(eventually([&] { return world.ledger->account(0).total == 0; }));
}

TEST_CASE("engines are opened and closed 60 times with work in every state") {
  World world;
  world.model("slow", R"({"step_us": 300})");
  for (int round = 0; round < 60; ++round) {
    world.options.executor_count = static_cast<std::uint32_t>(1 + round % 3);
    auto engine = Engine::open(world.options).value();
    std::thread submitter([&] {
      for (int index = 0; index < 10; ++index) (void)engine->submit(draft_of("slow", "x", 50));
    });
    if (round % 2 == 0) submitter.join();
    REQUIRE(engine->close(long_us).has_value());
    if (round % 2 == 1) submitter.join();
    REQUIRE(Json::parse(engine->statistics_json()).at("threads") == 0);
  }
}

TEST_CASE("events come to a callback, in order, and polling then finds none") {
  World world;
  world.model("tiles", R"({"step_us": 50})");
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Event> events;
  Status close_inside = Status::ok;
  Engine* engine = nullptr;
  world.options.event_callback = [&](const Event& event) {
    const std::lock_guard lock(mutex);
    events.push_back(event);
    if (event.type == EventType::started) {
      const auto closed = engine->close(0);
      close_inside = closed ? Status::ok : closed.error().status;
      (void)engine->job_info(event.job);
    }
    changed.notify_all();
    if (event.type == EventType::accepted) throw std::runtime_error("a host's mistake");
  };
  world.open();
  {
    const std::lock_guard lock(mutex);
    engine = world.engine.get();
  }
  const auto job = submit(*world.engine, draft_of("tiles"));
  wait_over(*world.engine, job);
  std::unique_lock lock(mutex);
  REQUIRE(changed.wait_for(lock, std::chrono::microseconds(long_us),
                           [&] { return !events.empty() && is_terminal(events.back().type); }));
  CHECK(fault_in(events) == "");
  CHECK(close_inside == Status::wrong_state);
  CHECK_FALSE(world.engine->poll_event().has_value());
  const auto waited = world.engine->wait_event(0);
  REQUIRE(waited.has_value());
  CHECK_FALSE(waited.value().has_value());
}

TEST_CASE("log lines are polled, and one that does not fit stays") {
  World world;
  world.model("tiles", R"({"log": true})");
  world.options.log_level = LogLevel::info;
  world.open();
  wait_over(*world.engine, submit(*world.engine, draft_of("tiles")));
  std::string first;
  CHECK(world.engine->poll_log([&](const LogLine& line) {
    first = line.message;
    return false;
  }));
  std::vector<std::string> modules;
  std::vector<std::string> messages;
  while (world.engine->poll_log([&](const LogLine& line) {
    modules.push_back(line.module);
    messages.push_back(line.message);
    CHECK(line.unix_us > 0);
    CHECK(line.dropped == 0);
    return true;
  })) {
  }
  REQUIRE_FALSE(messages.empty());
  CHECK(messages[0] == first);
  CHECK(std::ranges::count(modules, "fake") == 8);  // load, encode, start, four steps, decode
}

TEST_CASE("an engine whose log is off is silent, and one with a callback calls it") {
  for (const bool spoken : {false, true}) {
    World world;
    world.model("tiles", R"({"log": true})");
    std::mutex mutex;
    std::vector<LogLine> lines;
    if (spoken) {
      world.options.log_level = LogLevel::debug;
      world.options.log_callback = [&](const LogLine& line) {
        const std::lock_guard lock(mutex);
        lines.push_back(line);
      };
    }
    world.open();
    wait_over(*world.engine, submit(*world.engine, draft_of("tiles")));
    CHECK(world.engine->close(long_us).has_value());
    const std::lock_guard lock(mutex);
    CHECK(lines.empty() == !spoken);
    CHECK_FALSE(world.engine->poll_log([](const LogLine&) { return true; }));
  }
}

TEST_CASE("a model is loaded ahead, listed, pinned, and given back when its jobs are over") {
  World world;
  world.model("tiles", R"({"weight_bytes": 1000, "hold_stage": "step"})");
  world.options.executor_count = 2;
  world.open();
  const auto entry = [&] { return Json::parse(world.engine->model_list_json()).at(0); };
  CHECK(entry().at("name") == "tiles");
  CHECK(entry().at("loaded") == false);
  CHECK(world.engine->release_model("tiles").error().status == Status::not_found);
  const auto ahead = world.engine->load_ahead("tiles", 5);
  REQUIRE(ahead.has_value());
  const auto info = wait_over(*world.engine, ahead.value());
  CHECK(info.state == JobState::done);
  CHECK(info.host_tag == 5);
  CHECK(info.image_count == 0);
  CHECK(world.engine->job_image(ahead.value(), 0).error().status == Status::not_found);
  CHECK(world.ledger->account(0).committed[0] == 1000);
  REQUIRE(world.engine->pin_model("tiles", true).has_value());
  CHECK(entry().at("loaded") == true);
  CHECK(entry().at("pinned") == true);
  CHECK(Json::parse(world.engine->model_info_json("tiles").value()).at("pinned") == true);

  const auto user = submit(*world.engine, draft_of("tiles"));
  REQUIRE(reaches(*world.engine, user, Stage::sampling));
  CHECK(world.engine->job_info(user).value().load_us == 0);
  REQUIRE(world.engine->release_model("tiles").has_value());
  CHECK(world.engine->release_model("tiles").error().status == Status::not_found);
  CHECK(entry().at("pinned") == false);
  CHECK(world.ledger->account(0).committed[0] == 1000);  // The job that runs keeps it.
  // The next one loads it again, beside the one that is still in use.
  const auto again = world.engine->load_ahead("tiles", 0);
  wait_over(*world.engine, again.value());
  CHECK(world.ledger->account(0).committed[0] == 2000);
  world.release("tiles");
  CHECK(wait_over(*world.engine, user).state == JobState::done);
  CHECK(eventually([&] { return world.ledger->account(0).committed[0] == 1000; }));
  REQUIRE(world.engine->release_model("tiles").has_value());
  CHECK(eventually([&] { return world.ledger->account(0).total == 0; }));
  CHECK(world.engine->load_ahead(std::nullopt, 0).error().status == Status::invalid_argument);
  CHECK(world.engine->pin_model("nobody", true).error().status == Status::not_found);
}

TEST_CASE("what the ledger refuses fails the job before it is taken, and names the bytes") {
  World world;
  world.model("large", R"({"weight_bytes": 5000})");
  world.ledger->set_budget(0, 4999);
  world.open();
  const auto job = submit(*world.engine, draft_of("large"));
  CHECK(wait_over(*world.engine, job).status == Status::over_budget);
  CHECK(error_of(*world.engine, job).message.find("5000 bytes") != std::string::npos);
  CHECK(world.ledger->account(0).total == 0);
  world.ledger->set_budget(0, 5000);
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("large"))).state == JobState::done);
}

TEST_CASE("idle models make room for the next one, and one that is in use or pinned does not") {
  World world;
  for (const auto* name : {"first", "second", "third"}) world.model(name, R"({"weight_bytes": 1000})");
  world.ledger->set_budget(0, 2000);
  world.open();
  const auto loaded = [&](const std::string& name) {
    return Json::parse(world.engine->model_info_json(name).value()).at("loaded") == true;
  };
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("first"))).state == JobState::done);
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("second"))).state == JobState::done);
  REQUIRE(world.engine->pin_model("second", true).has_value());
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("third"))).state == JobState::done);
  CHECK_FALSE(loaded("first"));
  CHECK(loaded("second"));
  CHECK(loaded("third"));
  REQUIRE(world.engine->pin_model("third", true).has_value());
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("first"))).status == Status::over_budget);
  CHECK(world.ledger->account(0).peak <= 2000);
  REQUIRE(world.engine->pin_model("third", false).has_value());
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("first"))).state == JobState::done);
}

TEST_CASE("a shortage in the middle of a job gives up idle models, and the job goes on") {
  World world;
  world.model("idle", R"({"weight_bytes": 1000})");
  world.model("busy", R"({"weight_bytes": 500, "activation_bytes": 800})");
  world.open();
  CHECK(wait_over(*world.engine, world.engine->load_ahead("idle", 0).value()).state == JobState::done);
  world.ledger->set_budget(0, 2000);
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("busy"))).state == JobState::done);
  CHECK(world.ledger->account(0).committed[0] == 500);
  CHECK(world.ledger->account(0).peak <= 2000);
  // And where nothing is left to give up the job fails with what would fit.
  world.ledger->set_budget(0, 1200);
  const auto job = submit(*world.engine, draft_of("busy"));
  CHECK(wait_over(*world.engine, job).status == Status::out_of_device_memory);
  CHECK(error_of(*world.engine, job).message.find("a budget of 1300 bytes would fit") != std::string::npos);
}

TEST_CASE("a budget that falls gives idle models back, though no job runs") {
  World world;
  world.model("tiles", R"({"weight_bytes": 1000})");
  world.open();
  CHECK(wait_over(*world.engine, submit(*world.engine, draft_of("tiles"))).state == JobState::done);
  CHECK(world.ledger->account(0).total == 1000);
  world.ledger->set_budget(0, 10);
  CHECK(eventually([&] { return world.ledger->account(0).total == 0; }));
}

TEST_CASE("an image can be taken before the job is over, and is not there before it is ready") {
  World world;
  world.model("held", R"({"hold_stage": "decode"})");
  world.open();
  auto draft = draft_of("held");
  draft.image_count = 2;
  const auto job = submit(*world.engine, draft);
  REQUIRE(reaches(*world.engine, job, Stage::decoding));
  CHECK(world.engine->job_image(job, 0).error().status == Status::would_block);
  CHECK(world.engine->job_image(job, 2).error().status == Status::not_found);
  CHECK(world.engine->job_latents(job, 0).error().status == Status::not_found);
  const auto waited = world.engine->job_wait(job, 0);
  REQUIRE(waited.has_value());
  CHECK_FALSE(waited.value().over);
  CHECK(waited.value().info.stage == Stage::decoding);
  CHECK(world.engine->job_wait(job, -1).error().status == Status::invalid_argument);
  world.release("held");
  CHECK(wait_over(*world.engine, job).images_ready == 2);
}

TEST_CASE("an engine that has nothing to do lets its threads sleep") {
  World world;
  world.model("tiles");
  world.options.executor_count = 2;
  world.options.log_level = LogLevel::debug;
  world.options.log_callback = [](const LogLine&) {};
  world.options.event_callback = [](const Event&) {};
  world.open();
  wait_over(*world.engine, submit(*world.engine, draft_of("tiles")));
  // How often our threads have gone to sleep: a thread that wakes goes to sleep once more.
  const auto sleeps = [] {
    std::map<std::string, long> out;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      const auto name = file_text(task.path() / "comm");
      if (!name.starts_with("gf-")) continue;
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);) {
        if (line.starts_with("voluntary_ctxt_switches:")) out[task.path().filename()] = std::stol(line.substr(24));
      }
    }
    return out;
  };
  // The last of the work may still be going on; then a quarter of a second without a single wake-up has to come.
  bool quiet = false;
  for (int attempt = 0; attempt < 20 && !quiet; ++attempt) {
    const auto before = sleeps();
    std::this_thread::sleep_for(std::chrono::milliseconds(250));  // The one thing to see here is that nothing happens.
    quiet = before.size() == 7 && sleeps() == before;  // Seven once each has run, since a thread names itself.
  }
  CHECK(quiet);
}

TEST_CASE("options out of their range are refused by name") {
  const auto refused = [](const std::function<void(EngineOptions&)>& change, const std::string& part) {
    EngineOptions options;
    change(options);
    const auto engine = Engine::open(options);
    REQUIRE(engine.has_error());
    CHECK(engine.error().status == Status::invalid_argument);
    CHECK_MESSAGE(engine.error().message.find(part) != std::string::npos, engine.error().message);
  };
  refused([](auto& options) { options.executor_count = 17; }, "executor_count is 17");
  refused([](auto& options) { options.thread_count = 257; }, "thread_count is 257");
  refused([](auto& options) { options.queue_limit = 1'000'001; }, "queue_limit is 1000001");
  refused([](auto& options) { options.log_level = static_cast<LogLevel>(5); }, "log_level is 5");
  refused([](auto& options) { options.model_folders = {"ok", ""}; }, "model_folders[1]");
  refused([](auto& options) { options.model_folders = {"\xff"}; }, "model_folders[0]");
  refused([](auto& options) { options.backend_path = "relative.so"; }, "backend_path");
}

TEST_CASE("the doctor names what is missing and how to get it") {
  World world;
  world.model("good");
  world.model("broken");
  write_file(world.folder / "broken/unet/config.json", "{");
  world.options.model_folders.push_back(world.folder / "nowhere");
  const auto report = Json::parse(doctor_json(world.options, "{}").value());
  CHECK(report.at("backend").at("usable") == true);
  CHECK(report.at("backend").at("version") == "fake 1");
  CHECK(report.at("model_folders").at(0).at("models").size() == 2);
  const auto problems = report.at("problems").dump();
  CHECK(problems.find("broken/unet/config.json") != std::string::npos);
  CHECK(problems.find("nowhere") != std::string::npos);
  world.options.backend_path = "/nowhere/libgameforge_torch.so";
  const auto without = Json::parse(doctor_json(world.options, "{}").value());
  CHECK(without.at("backend").at("found") == false);
  CHECK(without.at("problems").dump().find("/nowhere/libgameforge_torch.so") != std::string::npos);
}
