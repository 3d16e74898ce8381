// Loggers and the crash note through the C ABI: that lines come whole, once and in order by what hosts can pass, and
// that what hosts do wrong does no harm.
#include "support.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using nlohmann::json;

namespace {

constexpr std::int64_t long_us = 30'000'000;

class Logger {
 public:
  explicit Logger(const gf_logger_options& options) { REQUIRE(gf_logger_open(&options, &handle) == GF_OK); }
  ~Logger() {
    if (handle != nullptr) CHECK(gf_logger_close(handle, long_us) == GF_OK);
  }
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  void log(const std::string& message, std::uint32_t level = GF_LOG_INFO) const {
    REQUIRE(gf_logger_log(handle, level, "m", message.c_str()) == GF_OK);
  }
  void flush() const { REQUIRE(gf_logger_flush(handle, long_us) == GF_OK); }
  /// What can be polled now; `record` is the last one's.
  std::vector<std::string> lines(gf_log_record* out_record = nullptr) const {
    flush();
    std::vector<std::string> out;
    std::vector<char> buffer(1 << 17);
    for (;;) {
      gf_log_record record = GF_LOG_RECORD_INIT;
      std::uint64_t size = buffer.size();
      const auto status = gf_logger_poll(handle, &record, buffer.data(), &size);
      if (status == GF_ERR_WOULD_BLOCK) return out;
      REQUIRE(status == GF_OK);
      out.emplace_back(buffer.data());
      if (out_record != nullptr) *out_record = record;
    }
  }
  gf_logger_statistics statistics() const {
    gf_logger_statistics out = GF_LOGGER_STATISTICS_INIT;
    REQUIRE(gf_logger_read_statistics(handle, &out) == GF_OK);
    return out;
  }
  gf_status close(std::int64_t timeout_us) {
    const auto status = gf_logger_close(handle, timeout_us);
    handle = nullptr;
    return status;
  }

  gf_logger* handle = nullptr;
};

gf_logger_options polled(std::uint32_t format = GF_LOG_FORMAT_PLAIN) {
  gf_logger_options options = GF_LOGGER_OPTIONS_INIT;
  options.poll_lines = 4096;
  options.poll_format = format;
  options.repeats_per_s = UINT32_MAX;
  return options;
}

gf_log_value text(const char* value) { return {GF_LOG_VALUE_TEXT, 0, value, 0, 0}; }
gf_log_value integer(std::int64_t value) { return {GF_LOG_VALUE_INTEGER, 0, nullptr, value, 0}; }
gf_log_value real(double value) { return {GF_LOG_VALUE_REAL, 0, nullptr, 0, value}; }

gf_log_line line_of(const char* message) {
  gf_log_line line = GF_LOG_LINE_INIT;
  line.level = GF_LOG_INFO;
  line.module = "m";
  line.message = message;
  return line;
}

}  // namespace

TEST_CASE("logger: golden: a line with all that may belong to one, in each format") {
  const Logger plain(polled());
  const Logger whole(polled(GF_LOG_FORMAT_TEXT));
  const Logger object(polled(GF_LOG_FORMAT_JSON));
  const gf_log_value arguments[] = {integer(3), text("potions"), {GF_LOG_VALUE_TRUTH, 0, nullptr, 1, 0}};
  const gf_log_field fields[] = {{"share", real(0.5)},
                                 {"bytes", {GF_LOG_VALUE_NATURAL, 0, nullptr, -1, 0}},
                                 {"password", text("geheim")},
                                 {"url", text("redis://u:geheim@h")}};
  const gf_job_id job = {1, 2};
  auto line = line_of("{} {:>8} are ready: {}");
  line.arguments = arguments;
  line.argument_count = 3;
  line.fields = fields;
  line.field_count = 4;
  line.job = &job;
  line.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  for (const auto* logger : {&plain, &whole, &object}) REQUIRE(gf_logger_write(logger->handle, &line) == GF_OK);

  const std::string rest =
      "3  potions are ready: true share=0.5 bytes=18446744073709551615 password=*** url=redis://u:***@h "
      "job=00000000000000010000000000000002 trace=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7";
  gf_log_record record = GF_LOG_RECORD_INIT;
  CHECK(plain.lines(&record) == std::vector<std::string>{"m\t" + rest});
  CHECK(record.level == GF_LOG_INFO);
  CHECK(record.unix_us > 1'600'000'000'000'000);
  const auto text_line = whole.lines().at(0);
  CHECK(text_line.find("Z info m [") == 26);
  CHECK(text_line.ends_with("] " + rest));
  const auto parsed = json::parse(object.lines().at(0));
  CHECK(parsed.at("message") == "3  potions are ready: true");
  CHECK(parsed.at("fields").at("share") == 0.5);
  CHECK(parsed.at("fields").at("password") == "***");
  CHECK(parsed.at("trace_id") == "4bf92f3577b34da6a3ce929d0e0e4736");
  CHECK(plain.statistics().masked == 1);
}

TEST_CASE("logger: what is no format for its arguments is counted and shown as it came, and costs nothing") {
  const Logger logger(polled());
  const gf_log_value arguments[] = {integer(7), text("x")};
  for (const char* format : {"{} {} {}", "{:d} {:d}", "{", "{:999999999}", "{:{}}", "%d %s", "{0.x}"}) {
    auto line = line_of(format);
    line.arguments = arguments;
    line.argument_count = 2;
    REQUIRE(gf_logger_write(logger.handle, &line) == GF_OK);
  }
  const auto lines = logger.lines();
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] == "m\t{} {} {} [7] [x]");
  CHECK(lines[3] == "m\t{:999999999} [7] [x]");
  CHECK(lines[5] == "m\t%d %s");  // A format without a place for arguments is one.
  CHECK(logger.statistics().format_errors == 6);
  // Without arguments braces are letters.
  logger.log("{} {:x} {");
  CHECK(logger.lines() == std::vector<std::string>{"m\t{} {:x} {"});
}

TEST_CASE("logger: newlines, control characters and broken bytes forge nothing, and endless texts are cut") {
  const Logger logger(polled());
  const Logger object(polled(GF_LOG_FORMAT_JSON));
  const std::string evil = "ok\n2026-01-01T00:00:00Z error m [1] forged\r\x1b[2J\x7f\xff\xc0\xaf\xe2\x80\xa8 end";
  for (const auto* to : {&logger, &object}) {
    REQUIRE(gf_logger_log(to->handle, GF_LOG_INFO, "m\n\tn", evil.c_str()) == GF_OK);
    const gf_log_field field = {"k\n\"=", text(evil.c_str())};
    auto line = line_of("x");
    line.fields = &field;
    line.field_count = 1;
    REQUIRE(gf_logger_write(to->handle, &line) == GF_OK);
  }
  for (const auto& line : logger.lines()) {
    CHECK(std::count(line.begin(), line.end(), '\t') == 1);
    for (const char c : line) CHECK((c == '\t' || static_cast<unsigned char>(c) >= ' '));
    CHECK(line.find('\x7f') == std::string::npos);
    CHECK(line.find('\xff') == std::string::npos);
  }
  const auto objects = object.lines();
  CHECK(objects.size() == 2);
  for (const auto& line : objects) {
    CHECK(line.find('\n') == std::string::npos);
    CHECK(json::accept(line));
  }
  logger.log(std::string(1 << 20, 'a'));
  const auto lines = logger.lines();
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].size() < 16384 + 50);
  CHECK(lines[0].ends_with("... (1032192 bytes more)"));
}

TEST_CASE("logger: levels, and the ring to poll: the oldest go, and the next one tells how many") {
  auto options = polled();
  options.level = GF_LOG_WARNING;
  options.poll_lines = 4;
  const Logger logger(options);
  logger.log("not this");
  CHECK(logger.lines().empty());
  CHECK(gf_logger_set_level(logger.handle, GF_LOG_DEBUG) == GF_OK);
  for (int index = 0; index < 10; ++index) logger.log(std::to_string(index), GF_LOG_DEBUG);
  logger.flush();
  gf_log_record record = GF_LOG_RECORD_INIT;
  std::uint64_t size = 0;
  REQUIRE(gf_logger_poll(logger.handle, &record, nullptr, &size) == GF_OK);
  CHECK(size == 4);  // "m", a tab, "6" and the NUL.
  CHECK(record.dropped == 6);
  CHECK(logger.lines() == std::vector<std::string>{"m\t6", "m\t7", "m\t8", "m\t9"});
  CHECK(gf_logger_set_level(logger.handle, GF_LOG_OFF) == GF_OK);
  logger.log("nor this", GF_LOG_ERROR);
  CHECK(logger.lines().empty());
  // Without a ring there is nothing to poll, and that is no error of the log.
  gf_logger* deaf = nullptr;
  REQUIRE(gf_logger_open(nullptr, &deaf) == GF_OK);
  CHECK(gf_logger_log(deaf, GF_LOG_ERROR, "m", "x") == GF_OK);
  CHECK(gf_logger_poll(deaf, &record, nullptr, &size) == GF_ERR_WOULD_BLOCK);
  CHECK(gf_logger_close(deaf, long_us) == GF_OK);
}

TEST_CASE("logger: lines that repeat are told in one, with their number") {
  auto options = polled();
  options.repeats_per_s = 5;
  const Logger logger(options);
  for (int index = 0; index < 1000; ++index) logger.log("packet " + std::to_string(index) + " was lost");
  const auto lines = [&] {
    std::uint64_t stands_for = 0;
    std::vector<char> buffer(4096);
    logger.flush();
    for (;;) {
      gf_log_record record = GF_LOG_RECORD_INIT;
      std::uint64_t size = buffer.size();
      if (gf_logger_poll(logger.handle, &record, buffer.data(), &size) != GF_OK) return stands_for;
      stands_for += record.repeated > 0 ? record.repeated : 1;
      if (record.repeated > 0) CHECK(std::strstr(buffer.data(), "(repeated ") != nullptr);
    }
  };
  CHECK(lines() == 1000);
  CHECK(logger.statistics().left_out > 900);
}

TEST_CASE("logger: a file that rotates, and a descriptor, get whole lines") {
  const gf::test::TemporaryFolder folder;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  {
    auto options = polled();
    const auto path = folder / "logs/game.log";
    options.file_path = path.c_str();
    options.file_format = GF_LOG_FORMAT_JSON;
    options.file_max_bytes = 2048;
    options.file_kept_files = 2;
    options.descriptor = static_cast<std::uint32_t>(ends[1]);
    const Logger logger(options);
    for (int index = 0; index < 100; ++index) logger.log("line " + std::to_string(index));
    logger.flush();
  }
  close(ends[1]);
  std::string piped;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) {
    piped.append(buffer, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  CHECK(std::count(piped.begin(), piped.end(), '\n') == 100);
  CHECK(piped.find("Z info m [") == 26);
  const auto newest = gf::test::file_text(folder / "logs/game.log");
  CHECK(newest.size() <= 2048);
  CHECK(newest.find("line 99") != std::string::npos);
  CHECK(json::accept(newest.substr(0, newest.find('\n'))));
  CHECK(gf::test::file_text(folder / "logs/game.2.log").size() <= 2048);
  CHECK_THROWS(gf::test::file_text(folder / "logs/game.3.log"));
}

TEST_CASE("logger: a full disk, a folder in the file's place and a closed pipe are counted, and nobody is stopped") {
  if (access("/dev/full", W_OK) == 0) {
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    REQUIRE(full > 0);
    auto options = polled();
    options.descriptor = static_cast<std::uint32_t>(full);
    const Logger logger(options);
    logger.log("nowhere");
    CHECK(logger.lines() == std::vector<std::string>{"m\tnowhere"});  // The others have it.
    CHECK(logger.statistics().output_failures >= 1);
    close(full);
  }
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  close(ends[0]);
  {
    auto options = polled();
    options.descriptor = static_cast<std::uint32_t>(ends[1]);
    const Logger logger(options);  // A SIGPIPE would end this program.
    logger.log("nobody reads");
    CHECK(logger.lines().size() == 1);
    CHECK(logger.statistics().output_failures >= 1);
  }
  close(ends[1]);
  const gf::test::TemporaryFolder folder;
  auto options = polled();
  options.file_path = folder.path().c_str();
  gf_logger* logger = nullptr;
  CHECK(gf_logger_open(&options, &logger) != GF_OK);
  CHECK(logger == nullptr);
}

namespace {

struct Host {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> lines;
  gf_logger* logger = nullptr;
  bool hold = false;
  bool throws = false;
  bool talks = false;
  std::vector<gf_status> inside;

  static void take(void* self, const gf_log_record* record, const char* module, const char* message) {
    auto& host = *static_cast<Host*>(self);
    std::unique_lock lock(host.mutex);
    host.lines.push_back(std::string(module) + "|" + message + (record->repeated > 0 ? " repeated" : ""));
    host.changed.notify_all();
    if (host.talks) {
      gf_logger_log(host.logger, GF_LOG_ERROR, "host", "I was called");
      host.inside = {gf_logger_flush(host.logger, 0), gf_logger_close(host.logger, 0)};
    }
    if (host.throws) throw std::runtime_error("a host's own mistake");
    host.changed.wait(lock, [&] { return !host.hold; });
  }
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::microseconds(long_us), [&] { return lines.size() >= count; });
  }
};

gf_logger_options told_to(Host& host) {
  gf_logger_options options = GF_LOGGER_OPTIONS_INIT;
  options.callback = Host::take;
  options.user_data = &host;
  options.repeats_per_s = UINT32_MAX;
  return options;
}

}  // namespace

TEST_CASE("logger: a callback that throws, or logs, flushes and closes, is counted and ends nothing") {
  Host host;
  host.throws = true;
  host.talks = true;
  const Logger logger(told_to(host));
  host.logger = logger.handle;
  for (int index = 0; index < 5; ++index) logger.log("line " + std::to_string(index));
  logger.flush();
  CHECK(host.lines.size() == 5);
  CHECK(host.inside == std::vector<gf_status>{GF_ERR_WRONG_STATE, GF_ERR_WRONG_STATE});
  CHECK(logger.statistics().output_failures == 5);
  CHECK(logger.statistics().recursive == 5);
}

TEST_CASE("logger: a callback that hangs holds up nobody for longer than was said, and none begins after close") {
  Host host;
  host.hold = true;
  auto options = told_to(host);
  options.ring_bytes = 65536;
  options.full_wait_us = 2000;
  Logger logger(options);
  logger.log("the first");
  REQUIRE(host.wait_for(1));
  const std::string message(1000, 'x');
  for (int index = 0; index < 100; ++index) logger.log(message);
  const auto lost = logger.statistics().dropped_info;
  CHECK(lost > 0);
  CHECK(lost < 100);
  CHECK(logger.statistics().written == 101 - lost);
  CHECK(gf_logger_flush(logger.handle, 1000) == GF_ERR_TIMED_OUT);
  auto* const handle = logger.handle;
  CHECK(logger.close(10'000) == GF_ERR_TIMED_OUT);
  CHECK(gf_logger_log(handle, GF_LOG_INFO, "m", "x") == GF_ERR_INVALID_HANDLE);
  {
    const std::lock_guard lock(host.mutex);
    host.hold = false;
    host.changed.notify_all();
  }
  // The one inside ends; none of the 60 and more that lay in the ring is told any more.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const std::lock_guard lock(host.mutex);
  CHECK(host.lines == std::vector<std::string>{"m|the first"});
}

TEST_CASE("logger: many threads log while others flush, read and close: every line is shown or counted") {
  for (int round = 0; round < 10; ++round) {
    Host host;
    auto options = told_to(host);
    options.level = GF_LOG_DEBUG;
    Logger logger(options);
    std::atomic<std::uint64_t> taken{0};
    std::vector<std::thread> threads;
    for (int writer = 0; writer < 4; ++writer) {
      threads.emplace_back([&] {
        for (int index = 0; index < 500; ++index) {
          if (gf_logger_log(logger.handle, GF_LOG_INFO, "m", "x") == GF_OK) ++taken;
        }
      });
    }
    for (int times = 0; times < 5; ++times) {
      gf_logger_flush(logger.handle, 1000);
      logger.statistics();
    }
    for (auto& thread : threads) thread.join();
    const auto lost = logger.statistics().dropped_info;
    CHECK(logger.close(long_us) == GF_OK);
    CHECK(taken == 2000);
    CHECK(host.lines.size() + lost >= 2000);
  }
}

namespace {

std::string note() {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(gf_crash_note_write(ends[1]) == GF_OK);
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  close(ends[0]);
  return text;
}

}  // namespace

TEST_CASE("crash note: the lines of a logger that asked for it and the host's own, without secrets") {
  auto options = polled();
  options.keep_crash_note = 1;
  const Logger logger(options);
  const Logger silent(polled());
  logger.log("redis://u:geheim@h is gone");
  silent.log("not for the note");
  logger.flush();
  silent.flush();
  CHECK(gf_crash_note_keep("the host is at level 3, token=geheim\nforged") == GF_OK);
  const auto text = note();
  CHECK(text.starts_with("GameForge crash note\nmemory: "));
  CHECK(text.find("redis://u:***@h is gone") != std::string::npos);
  CHECK(text.find("  the host is at level 3, token=***\\nforged\n") != std::string::npos);
  CHECK(text.find("not for the note") == std::string::npos);
  CHECK(text.ends_with("end of note\n"));
  CHECK(gf_crash_note_write(-1) == GF_ERR_IO);
}

TEST_CASE("crash note: an engine's running jobs and memory, and only while they run") {
  const gf::test::FakeModels models{{"slow", R"({"step_us": 20000, "weight_bytes": 4096})"}};
  const char* folder = models.folder().c_str();
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  options.model_folders = &folder;
  options.model_folder_count = 1;
  options.backend_path = GAMEFORGE_FAKE_BACKEND;
  options.log_level = GF_LOG_INFO;
  options.keep_crash_note = 1;
  gf_engine* engine = nullptr;
  REQUIRE(gf_engine_open(&options, &engine) == GF_OK);
  gf_request request = GF_REQUEST_INIT;
  request.model = "slow";
  request.prompt = "x";
  request.steps = 100;
  gf_job_id job;
  REQUIRE(gf_engine_submit(engine, &request, &job) == GF_OK);
  const auto id = gf::test::text_of([&](char* b, std::uint64_t* s) { return gf_job_id_text(&job, b, s); });
  gf_job_info info = GF_JOB_INFO_INIT;
  do {
    REQUIRE(gf_job_status(engine, &job, &info) == GF_OK);
  } while (info.stage != GF_STAGE_SAMPLING);
  const auto during = note();
  CHECK(during.find("\n  " + id + "\n") != std::string::npos);
  CHECK(during.find("memory: 0 bytes") == std::string::npos);
  CHECK(during.find("engine [") != std::string::npos);  // "opened with 1 executors ...", though nobody polled it.
  REQUIRE(gf_job_cancel(engine, &job, GF_CANCEL_NOW) == GF_OK);
  REQUIRE(gf_job_wait(engine, &job, long_us, &info) == GF_OK);
  CHECK(note().find(id) == std::string::npos);
  CHECK(gf_engine_close(engine, long_us) == GF_OK);
}
