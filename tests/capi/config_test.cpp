// Configuration through the ABI: file, environment, origin, and all problems at once.
#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

using gf::test::TemporaryFolder;
using gf::test::text_of;
using gf::test::write_file;
using nlohmann::json;

namespace {

/// Sets a variable of the test's own process and takes it away again.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

struct Loaded {
  Loaded(const char* path, std::uint32_t use_environment) : status(gf_config_load(path, use_environment, &config)) {
    if (status != GF_OK) message = gf_last_error_message();
  }
  ~Loaded() { gf_config_release(config); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

  json as_json() const {
    return json::parse(
        text_of([this](char* buffer, std::uint64_t* size) { return gf_config_json(config, buffer, size); }));
  }

  gf_config* config = nullptr;
  gf_status status;
  std::string message;
};

const char* const whole = R"(
model_folders = ["models", "/srv/models"]
executor_count = 2
thread_count = 3
queue_limit = 10
retained_job_count = 20
log_level = "warning"
allow_model_paths = true
backend_path = "lib/backend.so"
)";

}  // namespace

TEST_CASE("without file and environment nothing is set") {
  Loaded loaded(nullptr, 0);
  REQUIRE(loaded.status == GF_OK);
  CHECK(loaded.as_json() == json::object());
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  options.executor_count = 5;
  REQUIRE(gf_config_read(loaded.config, &options) == GF_OK);
  CHECK(options.executor_count == 5);
  CHECK(options.model_folders == nullptr);
}

TEST_CASE("a file sets every option, and its paths are relative to its folder") {
  TemporaryFolder folder;
  const auto path = folder / "engine.toml";
  write_file(path, whole);
  Loaded loaded(path.c_str(), 0);
  REQUIRE(loaded.status == GF_OK);
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  REQUIRE(gf_config_read(loaded.config, &options) == GF_OK);
  CHECK(options.struct_size == sizeof options);
  CHECK(options.executor_count == 2);
  CHECK(options.thread_count == 3);
  CHECK(options.queue_limit == 10);
  CHECK(options.retained_job_count == 20);
  CHECK(options.log_level == GF_LOG_WARNING);
  CHECK(options.allow_model_paths == 1);
  REQUIRE(options.model_folder_count == 2);
  CHECK(options.model_folders[0] == folder / "models");
  CHECK(std::string(options.model_folders[1]) == "/srv/models");
  CHECK(options.backend_path == folder / "lib/backend.so");

  const auto object = loaded.as_json();
  CHECK(object.size() == 8);
  CHECK(object.at("log_level") == json{{"value", "warning"}, {"origin", "file"}});
  CHECK(object.at("executor_count") == json{{"value", 2}, {"origin", "file"}});
}

TEST_CASE("the environment wins over the file, only where it is asked, and tells its origin") {
  TemporaryFolder folder;
  const auto path = folder / "engine.toml";
  write_file(path, "executor_count = 2\nthread_count = 3\n");
  const Variable executors("GAMEFORGE_EXECUTOR_COUNT", "4");
  const Variable folders("GAMEFORGE_MODEL_FOLDERS", "/a::relative/b:");
  const Variable truth("GAMEFORGE_ALLOW_MODEL_PATHS", "1");
  const Variable level("GAMEFORGE_LOG_LEVEL", "debug");
  const Variable left_out("GAMEFORGE_THREAD_COUNT", "");

  Loaded asked(path.c_str(), 1);
  REQUIRE(asked.status == GF_OK);
  const auto object = asked.as_json();
  CHECK(object.at("executor_count") == json{{"value", 4}, {"origin", "environment"}});
  CHECK(object.at("thread_count") == json{{"value", 3}, {"origin", "file"}});
  CHECK(object.at("model_folders").at("value") == json{"/a", "relative/b"});
  CHECK(object.at("allow_model_paths").at("value") == true);
  CHECK(object.at("log_level").at("value") == "debug");

  Loaded not_asked(path.c_str(), 0);
  REQUIRE(not_asked.status == GF_OK);
  CHECK(not_asked.as_json().at("executor_count") == json{{"value", 2}, {"origin", "file"}});
  CHECK(not_asked.as_json().count("log_level") == 0);
}

TEST_CASE("every problem is told at once, with its line, and each is a cause") {
  TemporaryFolder folder;
  const auto path = folder / "engine.toml";
  write_file(path,
             "executor_count = \"two\"\nexecuter_count = 2\nlog_level = 3\nmodel_folders = [1]\nqueue_limit = -1\n");
  const Variable threads("GAMEFORGE_THREAD_COUNT", "many");
  Loaded loaded(path.c_str(), 1);
  REQUIRE(loaded.status == GF_ERR_INVALID_ARGUMENT);
  CAPTURE(loaded.message);
  for (const char* part : {"line 1: executor_count must be", "line 2: \"executer_count\" is no key",
                           "line 3: log_level must be \"off\"", "line 4: model_folders must be a list",
                           "line 5: queue_limit must be", "GAMEFORGE_THREAD_COUNT is \"many\"; it must be"}) {
    CAPTURE(part);
    CHECK(loaded.message.find(part) != std::string::npos);
  }
  CHECK(loaded.message.find(path) != std::string::npos);
  // loaded.config is NULL, and its release does nothing.
  const auto error = json::parse(text_of([](char* b, std::uint64_t* s) { return gf_last_error_json(b, s); }));
  CHECK(error.at("causes").size() == 6);
}

TEST_CASE("a file that is no TOML is told with line and column; one that is missing or a folder by its path") {
  TemporaryFolder folder;
  const auto path = folder / "engine.toml";
  write_file(path, "executor_count = 2\nthread_count = = 3\n");
  Loaded wrong(path.c_str(), 0);
  CHECK(wrong.status == GF_ERR_SYNTAX_ERROR);
  CHECK(wrong.message.find(path + ": line 2, column 16") != std::string::npos);

  Loaded missing((folder / "missing.toml").c_str(), 0);
  CHECK(missing.status == GF_ERR_NOT_FOUND);
  CHECK(missing.message.find("missing.toml") != std::string::npos);
  Loaded no_file(folder.path().c_str(), 0);
  CHECK(no_file.status != GF_OK);

  write_file(path, std::string("log_level = \"\xff\xfe\"\n"));
  Loaded no_text(path.c_str(), 0);
  CHECK(no_text.status == GF_ERR_SYNTAX_ERROR);
  write_file(path, std::string(1 << 21, '#'));
  Loaded huge(path.c_str(), 0);
  CHECK(huge.status == GF_ERR_PAYLOAD_TOO_LARGE);
  write_file(path, "a = " + std::string(5000, '['));
  Loaded deep(path.c_str(), 0);
  CHECK(deep.status == GF_ERR_SYNTAX_ERROR);
  write_file(path, "backend_path = \"a\\u0000b\"\n");
  Loaded cut(path.c_str(), 0);
  CHECK(cut.status == GF_ERR_INVALID_ARGUMENT);
}

TEST_CASE("the texts that gf_config_read gave live as long as the configuration") {
  TemporaryFolder folder;
  const auto path = folder / "engine.toml";
  write_file(path, whole);
  Loaded first(path.c_str(), 0);
  std::vector<Loaded*> others;
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  REQUIRE(gf_config_read(first.config, &options) == GF_OK);
  for (int round = 0; round < 50; ++round) others.push_back(new Loaded(path.c_str(), 0));
  for (auto* other : others) delete other;
  CHECK(options.model_folders[0] == folder / "models");
}
