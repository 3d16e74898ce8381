// Memory end to end: the shipped model on libtorch through the C ABI, with budgets, refusals, switches and engines that
// come and go. Short forms here; the long ones are ctest's `soak`.
#include "../../support/files.hpp"
#include "../../support/soon.hpp"
#include "gameforge/gameforge.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <dlfcn.h>

namespace {

namespace fs = std::filesystem;
using gameforge::Engine;

constexpr std::chrono::seconds patience(120);
constexpr std::uint64_t everything = UINT64_MAX;

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe): nothing here writes it.
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::uint64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  return 0;
}

gameforge::Options options(const std::string& folder, const std::string& backend = GAMEFORGE_TORCH_BACKEND) {
  gameforge::Options out;
  out.model_folders = {folder};
  out.backend_path = backend;
  out.thread_count = 1;
  out.executor_count = 1;
  return out;
}

gameforge::Request request(const std::string& model = "gameforge-tiles", std::uint32_t steps = 2) {
  gameforge::Request out;
  out.model = model;
  out.prompt = "a red potion";
  out.seed = 1;
  out.steps = steps;
  return out;
}

/// What a job came to: its pixels, or the status that it failed with.
struct Outcome {
  gf_status status = GF_OK;
  std::vector<std::uint8_t> pixels;
  std::string report;
};

Outcome run(Engine& engine, const gameforge::Request& wanted) {
  const auto job = engine.submit(wanted);
  gf_job_info info = GF_JOB_INFO_INIT;
  Outcome out;
  try {
    const bool ended = engine.wait(job, patience, &info);
    REQUIRE(ended);
    const auto image = engine.image(job, 0);
    out.pixels.assign(image.pixels(), image.pixels() + image.info().byte_count);
  } catch (const gameforge::Error& error) {
    out.status = error.status();
  }
  out.report = engine.report_json(job);
  engine.forget(job);
  return out;
}

gf_memory_report memory(Engine& engine) {
  gf_memory_report report = GF_MEMORY_REPORT_INIT;
  REQUIRE(gf_engine_memory_report(engine.handle(), 0, &report) == GF_OK);
  return report;
}

void give_all_back(Engine& engine) {
  REQUIRE(gf_engine_request_memory(engine.handle(), 0, everything, 10'000'000, nullptr) == GF_OK);
}

void set_budget(Engine& engine, std::uint64_t bytes) {
  REQUIRE(gf_engine_set_memory_budget(engine.handle(), 0, bytes) == GF_OK);
}

/// The peak of a job, whole, by a scope around it.
std::uint64_t peak_of(Engine& engine, const gameforge::Request& wanted) {
  std::uint64_t scope = 0;
  REQUIRE(gf_memory_scope_begin(engine.handle(), 0, 0, &scope) == GF_OK);
  REQUIRE(run(engine, wanted).status == GF_OK);
  gf_memory_scope_report report = GF_MEMORY_SCOPE_REPORT_INIT;
  REQUIRE(gf_memory_scope_end(engine.handle(), scope, &report) == GF_OK);
  return report.peak_bytes;
}

/// The backend that refuses on demand.
struct ShortBackend {
  void (*refuse)(std::uint64_t first, std::uint64_t last) = nullptr;
  std::uint64_t (*asked)() = nullptr;
  ShortBackend() {
    void* const object = dlopen(GAMEFORGE_SHORT_BACKEND, RTLD_NOW | RTLD_LOCAL);
    REQUIRE(object != nullptr);
    refuse = reinterpret_cast<decltype(refuse)>(dlsym(object, "short_backend_refuse"));
    asked = reinterpret_cast<decltype(asked)>(dlsym(object, "short_backend_asked"));
    const bool has_both = refuse != nullptr && asked != nullptr;
    REQUIRE(has_both);
  }
};

/// A folder with some models, all like the shipped one.
struct Names {
  gf::test::TemporaryFolder folder;
  explicit Names(const std::vector<std::string>& names) {
    for (const auto& name : names) {
      // Copies, since a link is the model that it leads to.
      fs::copy(fs::path(GAMEFORGE_MODELS) / "gameforge-tiles", folder / name, fs::copy_options::recursive);
    }
  }
};

}  // namespace

TEST_CASE("whichever allocation is refused, the picture is right or the error typed, and nothing stays behind") {
  const ShortBackend backend;
  Engine engine(options(GAMEFORGE_MODELS, GAMEFORGE_SHORT_BACKEND));
  const auto wanted = request();
  REQUIRE(run(engine, wanted).status == GF_OK);  // What is taken once is taken.
  give_all_back(engine);
  const auto nothing = memory(engine).live_bytes;
  backend.refuse(everything, 0);
  const auto right = run(engine, wanted);
  REQUIRE(right.status == GF_OK);
  const auto total = backend.asked();
  give_all_back(engine);
  REQUIRE(total > 1000);
  const auto points = std::min(number_of("GAMEFORGE_OOM_POINTS", 300), total);
  std::map<gf_status, std::uint64_t> ends;
  std::uint64_t rescued = 0;
  for (std::uint64_t point = 0; point < points; ++point) {
    const auto at = total * point / points;
    CAPTURE(at);
    // Once, which some rung rescues; or from there on for a while, so that none does.
    const bool once = point % 2 == 0;
    backend.refuse(at, once ? at : at + 2000);
    const auto outcome = run(engine, wanted);
    ++ends[outcome.status];
    if (outcome.status == GF_OK) {
      CHECK(outcome.pixels == right.pixels);
      if (outcome.report.find("offload_parts") != std::string::npos) ++rescued;
    } else {
      CHECK((outcome.status == GF_ERR_OUT_OF_DEVICE_MEMORY || outcome.status == GF_ERR_OVER_BUDGET));
      CHECK_FALSE(once);
    }
    backend.refuse(everything, 0);
    give_all_back(engine);
    CHECK(memory(engine).live_bytes == nothing);
    if (point % 4 == 0) {
      CHECK(run(engine, wanted).pixels == right.pixels);
      give_all_back(engine);
    }
  }
  CHECK(rescued > 0);
  CHECK(ends[GF_OK] >= points / 2);
  CHECK(ends.size() > 1);
  std::ostringstream told;
  for (const auto& [status, count] : ends) told << ' ' << gf_status_name(status) << ' ' << count;
  MESSAGE(total << " allocations, " << points << " of them refused:" << told.str() << ", rescued by offload_parts "
                << rescued);
}

TEST_CASE("from the peak down to a tenth of it a budget is kept, and where it is enough the picture is the same") {
  Engine engine(options(GAMEFORGE_MODELS));
  const auto wanted = request();
  const auto right = run(engine, wanted);
  REQUIRE(right.status == GF_OK);
  give_all_back(engine);
  const auto peak = peak_of(engine, wanted);
  bool was_enough = true;
  std::uint64_t least = peak;
  for (int percent = 100; percent >= 10; percent -= 5) {
    CAPTURE(percent);
    give_all_back(engine);
    const auto budget = peak * static_cast<std::uint64_t>(percent) / 100;
    set_budget(engine, budget);
    std::uint64_t scope = 0;
    REQUIRE(gf_memory_scope_begin(engine.handle(), 0, 0, &scope) == GF_OK);
    const auto outcome = run(engine, wanted);
    gf_memory_scope_report report = GF_MEMORY_SCOPE_REPORT_INIT;
    REQUIRE(gf_memory_scope_end(engine.handle(), scope, &report) == GF_OK);
    CHECK(report.peak_bytes <= budget);
    if (outcome.status == GF_OK) {
      CHECK(was_enough);  // What a smaller budget does, a larger one did.
      CHECK(outcome.pixels == right.pixels);
      least = budget;
    } else {
      CHECK((outcome.status == GF_ERR_OUT_OF_DEVICE_MEMORY || outcome.status == GF_ERR_OVER_BUDGET));
      CHECK(outcome.report.find("would fit") != std::string::npos);
      was_enough = false;
    }
    set_budget(engine, 0);
  }
  CHECK(run(engine, wanted).pixels == right.pixels);
  MESSAGE("peak " << (peak >> 10) << " KiB; the least budget that was enough: " << (least >> 10) << " KiB, "
                  << 100 * least / peak << " %");
  CHECK(least <= peak * 60 / 100);
}

TEST_CASE(
    "a large picture is decoded in tiles where that is allowed, and says so; where it is not, the error names it") {
  // Of a model with eight pixels a latent, where the decode is what takes most.
  Engine engine(options(GAMEFORGE_GOLDEN_MODELS));
  auto wanted = request("sdxl", 1);
  wanted.width_px = wanted.height_px = 512;
  const auto right = run(engine, wanted);
  REQUIRE(right.status == GF_OK);
  give_all_back(engine);
  const auto peak = peak_of(engine, wanted);
  auto allowed = wanted;
  allowed.memory_may_change_pixels = true;
  int tiled = 0;
  for (int percent = 95; percent >= 20 && tiled == 0; percent -= 5) {
    CAPTURE(percent);
    give_all_back(engine);
    set_budget(engine, peak * static_cast<std::uint64_t>(percent) / 100);
    const auto without = run(engine, wanted);
    if (without.status != GF_OK) {
      give_all_back(engine);
      const auto with = run(engine, allowed);
      if (with.status == GF_OK) {
        ++tiled;
        CHECK(without.report.find("not allowed: tile_vae") != std::string::npos);
        CHECK(with.report.find("\"tile_vae\"") != std::string::npos);
        CHECK(with.pixels != right.pixels);
        std::uint64_t difference = 0;
        for (std::size_t i = 0; i < right.pixels.size(); ++i) {
          difference += static_cast<std::uint64_t>(std::abs(int{with.pixels[i]} - int{right.pixels[i]}));
        }
        const auto mean = static_cast<double>(difference) / static_cast<double>(right.pixels.size());
        CHECK(mean < 8);
        MESSAGE("at " << percent << " % of " << (peak >> 10) << " KiB the picture is decoded in tiles, " << mean
                      << " levels off in the mean");
      }
    }
    set_budget(engine, 0);
  }
  CHECK(tiled == 1);
}

TEST_CASE("a running job gives its memory back within a step, waits, and goes on with the same pixels") {
  Engine engine(options(GAMEFORGE_MODELS));
  const auto wanted = request("gameforge-tiles", 150);
  const auto right = run(engine, wanted);
  REQUIRE(right.status == GF_OK);
  const auto step_us = [&] {
    const auto begun = std::chrono::steady_clock::now();
    run(engine, request("gameforge-tiles", 100));
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun) / 100;
  }();
  const auto job = engine.submit(wanted);
  const auto at_step = [&](const gameforge::JobId& of, std::uint32_t step) {
    gf_job_info info = GF_JOB_INFO_INIT;
    for (int naps = 0; naps < 60'000; ++naps) {
      info = engine.status(of);
      if (info.state >= GF_JOB_DONE || (info.stage == GF_STAGE_SAMPLING && info.step >= step)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return info;
  };
  REQUIRE(at_step(job, 5).state == GF_JOB_RUNNING);
  const std::uint64_t little = std::uint64_t{4} << 20;
  const auto asked = std::chrono::steady_clock::now();
  set_budget(engine, little);
  CHECK(gf::test::soon([&] { return memory(engine).live_bytes <= little; }));
  const auto took = std::chrono::steady_clock::now() - asked;
  CHECK(memory(engine).live_bytes <= little);
  const auto paused_at = engine.status(job).step;
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(engine.status(job).step <= paused_at + 1);  // The step that was told a moment later.
  CHECK(engine.status(job).state == GF_JOB_RUNNING);
  set_budget(engine, 0);
  gf_job_info info = GF_JOB_INFO_INIT;
  const bool ended = engine.wait(job, patience, &info);
  REQUIRE(ended);
  const auto image = engine.image(job, 0);
  const std::vector<std::uint8_t> pixels(image.pixels(), image.pixels() + image.info().byte_count);
  CHECK(pixels == right.pixels);
  CHECK(engine.report_json(job).find("\"pauses\":1") != std::string::npos);
  MESSAGE("given back after " << std::chrono::duration_cast<std::chrono::microseconds>(took).count()
                              << " us; a step takes " << step_us.count() << " us");
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(took <= 10 * step_us + std::chrono::milliseconds(50));  // One step, on a machine that is busy besides.
#endif

  // One that waits can be cancelled.
  const auto second = engine.submit(wanted);
  REQUIRE(at_step(second, 3).state == GF_JOB_RUNNING);
  set_budget(engine, little);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  engine.cancel(second);
  gf_status status = GF_OK;
  try {
    (void)engine.wait(second, patience, &info);
  } catch (const gameforge::Error& error) {
    status = error.status();
  }
  CHECK(status == GF_ERR_CANCELLED);
  set_budget(engine, 0);
}

TEST_CASE("models that take turns leave nothing behind, in the ledger and in the process") {
  const Names names({"one", "two", "three"});
  Engine engine(options(names.folder.path()));
  // So that one model fits and two do not.
  const auto peak = peak_of(engine, request("one", 1));
  set_budget(engine, peak * 3 / 2);
  const auto round = [&] {
    for (const auto* name : {"one", "two", "three"}) REQUIRE(run(engine, request(name, 1)).status == GF_OK);
  };
  const auto rounds = number_of("GAMEFORGE_SWITCHES", 60) / 3;
  round();
  give_all_back(engine);
  const auto live = memory(engine).live_bytes;
  const auto resident = resident_bytes();
  std::uint64_t most = 0;
  for (std::uint64_t i = 0; i < rounds; ++i) {
    round();
    if (i % 10 != 9 && i + 1 != rounds) continue;
    give_all_back(engine);
    CHECK(memory(engine).live_bytes == live);
    most = std::max(most, resident_bytes());
  }
  set_budget(engine, 0);
  MESSAGE(rounds * 3 << " switches: resident " << (resident >> 10) << " KiB after the first round, at most "
                     << (most >> 10) << " KiB since, all given back");
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(most <= resident + (std::uint64_t{8} << 20));
#endif
}

TEST_CASE("engines that come and go leave nothing behind") {
  const auto one = [] {
    Engine engine(options(GAMEFORGE_MODELS));
    REQUIRE(run(engine, request("gameforge-tiles", 1)).status == GF_OK);
  };
  one();
  one();
  std::uint64_t live = 0;
  {
    Engine engine(options(GAMEFORGE_MODELS));
    live = memory(engine).live_bytes;
  }
  CHECK(live == 0);
  // The C library hands each executor's thread one of several heaps, which keep what they had: the reading moves within
  // what they hold together, so the most of the first third is compared with the least of the last.
  const auto engines = number_of("GAMEFORGE_ENGINES", 30);
  std::uint64_t most_first = 0;
  std::uint64_t least_last = UINT64_MAX;
  for (std::uint64_t i = 0; i < engines; ++i) {
    one();
    if (i < engines / 3) most_first = std::max(most_first, resident_bytes());
    if (i >= engines - engines / 3) least_last = std::min(least_last, resident_bytes());
  }
  Engine engine(options(GAMEFORGE_MODELS));
  CHECK(memory(engine).live_bytes == 0);
  MESSAGE(engines << " engines: resident at most " << (most_first >> 10) << " KiB in the first third, at least "
                  << (least_last >> 10) << " KiB in the last");
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(least_last <= most_first + (std::uint64_t{8} << 20));
#endif
}

TEST_CASE("beside a libtorch that was there before, weights alone are charged, and the report says so" *
          doctest::skip(std::getenv("GAMEFORGE_LIBTORCH_FIRST") == nullptr)) {  // A process of its own: see CMakeLists.
  REQUIRE(dlopen(GAMEFORGE_LIBTORCH, RTLD_NOW | RTLD_LOCAL) != nullptr);
  Engine engine(options(GAMEFORGE_MODELS));
  const auto outcome = run(engine, request());
  CHECK(outcome.status == GF_OK);
  CHECK(outcome.report.find("\"ledger\":false") != std::string::npos);
  CHECK(memory(engine).live_bytes > (std::uint64_t{40} << 20));
  give_all_back(engine);
  CHECK(memory(engine).live_bytes == 0);
}

TEST_CASE("two engines share a budget that fits one model, and both get on") {
  const Names names({"one", "two"});
  Engine first(options(names.folder.path()));
  Engine second(options(names.folder.path()));
  const auto peak = peak_of(first, request("one"));
  const auto pixels = run(first, request("one")).pixels;
  give_all_back(first);
  set_budget(first, peak * 5 / 4);
  std::uint64_t scope = 0;
  REQUIRE(gf_memory_scope_begin(first.handle(), 0, 0, &scope) == GF_OK);
  const auto some = [&](Engine& engine, const char* name, std::vector<Outcome>& out) {
    for (int i = 0; i < 6; ++i) out.push_back(run(engine, request(name)));
  };
  std::vector<Outcome> of_first;
  std::vector<Outcome> of_second;
  std::thread other([&] { some(second, "two", of_second); });
  some(first, "one", of_first);
  other.join();
  gf_memory_scope_report report = GF_MEMORY_SCOPE_REPORT_INIT;
  REQUIRE(gf_memory_scope_end(first.handle(), scope, &report) == GF_OK);
  CHECK(report.peak_bytes <= peak * 5 / 4);
  int done = 0;
  for (const auto* outcomes : {&of_first, &of_second}) {
    for (const auto& outcome : *outcomes) {
      if (outcome.status != GF_OK) continue;
      ++done;
      CHECK(outcome.pixels == pixels);
    }
  }
  MESSAGE(done << " of 12 jobs were done");
  CHECK(done == 12);
  set_budget(first, 0);
}
