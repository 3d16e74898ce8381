#include "pipeline/backend_library.hpp"

#include "../support/model_files.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using gf::LogLevel;
using gf::Status;
using gf::cache::Ledger;
using gf::pipeline::Backend;
using gf::pipeline::BackendLibrary;
using gf::pipeline::CallWatcher;
using gf::test::TemporaryFolder;
using gf::test::write_file;
using gf::test::write_model;

namespace {

class Watcher final : public CallWatcher {
 public:
  std::atomic<bool> wish{false};
  std::atomic<int> reports{0};
  bool cancelled() const noexcept override { return wish; }
  void progress(std::uint32_t, std::uint64_t, std::uint64_t) noexcept override { ++reports; }
};

class Sink final : public gf::LogSink {
 public:
  std::atomic<int> lines{0};
  bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view module, std::string_view) noexcept override {
    if (module == "fake") ++lines;
  }
};

struct World {
  TemporaryFolder folder;
  Ledger ledger;
  Sink log;
  Watcher watcher;
  std::shared_ptr<Backend> backend;

  explicit World(const std::string& settings = "{}") {
    write_model(folder / "model", settings);
    auto library = BackendLibrary::open(GAMEFORGE_FAKE_BACKEND);
    REQUIRE(library.has_value());
    backend = Backend::create(library.value(), {&log, &ledger, &gf::system_clock()}).value();
  }
  auto load() { return backend->load(folder / "model", 1, watcher); }
};

gf_backend_run_request run_of(std::uint32_t side, std::uint32_t steps) {
  gf_backend_run_request request{};
  request.struct_size = sizeof request;
  request.width_px = side;
  request.height_px = side;
  request.steps = steps;
  request.cfg_scale = 7;
  request.sampler = "euler";
  return request;
}

gf_backend_encode_request prompt_of(const char* prompt) {
  gf_backend_encode_request request{};
  request.struct_size = sizeof request;
  request.guidance = 1;
  request.prompt = prompt;
  return request;
}

}  // namespace

TEST_CASE("a library is opened once a path, also from many threads") {
  std::vector<std::shared_ptr<const BackendLibrary>> opened(4);
  std::vector<std::thread> threads;
  for (auto& into : opened) {
    threads.emplace_back([&into] { into = BackendLibrary::open(GAMEFORGE_FAKE_BACKEND).value(); });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& library : opened) CHECK(library == opened[0]);
}

TEST_CASE("what is no backend, or not this library's, is refused with path and reason") {
  TemporaryFolder folder;
  write_file(folder / "text.so", "no shared object");
  struct Row {
    std::string path;
    Status status;
    std::string part;
  };
  const std::string beside =
      std::string(GAMEFORGE_FAKE_BACKEND).substr(0, std::string(GAMEFORGE_FAKE_BACKEND).rfind('/'));
  for (const auto& row : std::vector<Row>{
           {folder / "nothing.so", Status::backend_missing, "No such file"},
           {folder / "text.so", Status::backend_missing, "cannot be opened"},
           {folder.path(), Status::backend_missing, "not a regular file"},
           {beside + "/libgameforge_other_version_backend.so", Status::backend_version_clash,
            fmt::format("speaks version {} of the backend's interface; this library speaks version {}",
                        GF_BACKEND_ABI_VERSION + 1000, GF_BACKEND_ABI_VERSION)},
           {beside + "/libgameforge_no_backend.so", Status::backend_version_clash, "no backend of GameForge"},
           {beside + "/libgameforge_unresolved_backend.so", Status::symbol_clash, "undefined symbol"},
       }) {
    const auto library = BackendLibrary::open(row.path);
    REQUIRE(library.has_error());
    CHECK(library.error().status == row.status);
    CHECK(library.error().message.find(row.path) != std::string::npos);
    CHECK_MESSAGE(library.error().message.find(row.part) != std::string::npos, library.error().message);
  }
  CHECK(BackendLibrary::open("relative.so").error().status == Status::backend_missing);
  CHECK(BackendLibrary::open("").error().status == Status::backend_missing);
  CHECK(gf::pipeline::default_backend_path().ends_with("/libgameforge_torch.so"));
}

TEST_CASE("a failure to open is not remembered: a backend that is put there later is found") {
  TemporaryFolder folder;
  const auto path = folder / "late.so";
  CHECK(BackendLibrary::open(path).has_error());
  std::filesystem::copy_file(GAMEFORGE_FAKE_BACKEND, path);
  CHECK(BackendLibrary::open(path).has_value());
}

TEST_CASE("the host's table serves files, log, ledger and progress") {
  World world(R"({"weight_bytes": 300, "activation_bytes": 50, "log": true, "load_parts": 3})");
  CHECK(world.backend->name() == "fake");
  CHECK(world.backend->version() == "fake 1");
  CHECK(world.backend->build_json() == R"({"fake": true})");
  {
    const auto model = world.load().value();
    CHECK(model->info().weight_bytes == 300);
    CHECK(world.watcher.reports == 3);
    CHECK(world.log.lines == 1);
    CHECK(world.ledger.account(0).committed[0] == 300);
    CHECK(world.backend->statistics().models == 1);
    const auto conditioning = model->encode(prompt_of("x"), 1, world.watcher).value();
    auto run = model->start(conditioning, run_of(8, 2), 1, world.watcher).value();
    CHECK(world.ledger.account(0).committed[1] == 50);
    const auto owners = world.ledger.owners(0);
    REQUIRE(owners.size() == 1);
    CHECK(owners[0].name == world.folder / "model");
    CHECK(owners[0].total == 350);
    CHECK(owners[0].by_stage[1] == 300);
    CHECK(owners[0].by_stage[3] == 50);
    CHECK(run->step(1, world.watcher).value() == 1);
    CHECK(run->step(1, world.watcher).value() == 0);
    CHECK(run->step(1, world.watcher).error().status == Status::wrong_state);
    std::vector<std::uint8_t> pixels(8 * 8 * 4);
    CHECK(run->decode(1, world.watcher, pixels).has_value());
    CHECK(pixels[3] == 255);
    std::vector<float> latents(4 * 4 * 4);
    CHECK(run->latents(latents).has_value());
    latents.pop_back();
    CHECK(run->latents(latents).error().status == Status::invalid_argument);
  }
  CHECK(world.ledger.account(0).total == 0);
  CHECK(world.ledger.owners(0).at(0).total == 0);
  CHECK(world.ledger.owners(0).at(0).by_stage[3] == 0);
  CHECK(world.backend->statistics().models == 0);
}

TEST_CASE("what a run stands on lives as long as the run, in whatever order shares are dropped") {
  World world(R"({"weight_bytes": 300})");
  auto model = world.load().value();
  auto conditioning = model->encode(prompt_of("x"), 1, world.watcher).value();
  auto run = model->start(conditioning, run_of(8, 2), 1, world.watcher).value();
  model.reset();
  conditioning.reset();
  world.backend.reset();
  CHECK(run->step(1, world.watcher).value() == 1);
  CHECK(world.ledger.account(0).total == 300);
  run.reset();
  CHECK(world.ledger.account(0).total == 0);
}

TEST_CASE("what it throws, forgets or answers becomes an error, with its message") {
  struct Row {
    std::string settings;
    Status status;
    std::string part;
  };
  for (const auto& row : std::vector<Row>{
           {R"({"throw_stage": "load", "throw": "bad_alloc"})", Status::out_of_host_memory, "load"},
           {R"({"throw_stage": "load", "throw": "int"})", Status::internal, "load"},
           {R"({"throw_stage": "load"})", Status::internal, "the fake backend throws"},
           {R"({"forget_stage": "load"})", Status::internal, "gave nothing"},
           {R"({"fail_stage": "load", "fail_status": 4711})", Status::internal, "4711"},
           {R"({"fail_stage": "load", "fail_status": 401, "fail_message": ""})", Status::corrupt_file, "corrupt_file"},
           {"[1]", Status::corrupt_file, "fake.json"},
       }) {
    CAPTURE(row.settings);
    World world(row.settings);
    const auto model = world.load();
    REQUIRE(model.has_error());
    CHECK(model.error().status == row.status);
    CHECK_MESSAGE(model.error().message.find(row.part) != std::string::npos, model.error().message);
    CHECK(world.ledger.account(0).total == 0);
  }
  World world;
  std::filesystem::remove(world.folder / "model/fake.json");
  const auto missing = world.load();
  REQUIRE(missing.has_error());
  CHECK(missing.error().status == Status::not_found);  // The host's own words came back through the backend.
  CHECK(missing.error().message.find("fake.json") != std::string::npos);
}

TEST_CASE("the cancel flag is passed on") {
  World world;
  world.watcher.wish = true;
  CHECK(world.load().error().status == Status::cancelled);
}
