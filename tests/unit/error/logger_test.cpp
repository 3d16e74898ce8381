#include "error/logger.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using gf::Error;
using gf::LogLevel;
using gf::Result;
using gf::Status;
using gf::error::LogField;
using gf::error::Logger;
using gf::error::LoggerOptions;
using gf::error::LogOutput;
using gf::error::LogRecord;

namespace {

constexpr std::int64_t second_us = 1'000'000;

struct Line {
  LogLevel level = LogLevel::off;
  std::string module;
  std::string message;
  std::string text;
  std::uint64_t repeated = 0;
  std::uint64_t dropped = 0;
  std::uint32_t thread = 0;
  std::int64_t unix_us = 0;
};

/// Keeps everything; blocks, throws or refuses on demand.
class Catcher final : public LogOutput {
 public:
  Result<void> write(const LogRecord& record) override {
    std::unique_lock lock(mutex);
    if (record.message == "block") blocked = true;
    changed.notify_all();
    changed.wait(lock, [&] { return !blocked; });
    if (throws) throw std::runtime_error("the output throws");
    Line line{record.level,
              std::string(record.module),
              std::string(record.message),
              {},
              record.repeated,
              record.dropped,
              record.thread,
              record.unix_us};
    append_text(line.text, record);
    lines.push_back(std::move(line));
    changed.notify_all();
    return gf::success();
  }
  std::vector<Line> all() {
    const std::lock_guard lock(mutex);
    return lines;
  }
  bool wait_for(std::size_t count, std::int64_t timeout_us) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::microseconds(timeout_us), [&] { return lines.size() >= count; });
  }
  void release() {
    const std::lock_guard lock(mutex);
    blocked = false;
    changed.notify_all();
  }
  void wait_until_blocked() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return blocked; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Line> lines;
  bool blocked = false;
  std::atomic<bool> throws{false};
};

struct Fixture {
  explicit Fixture(LoggerOptions options = plain()) : catcher(std::make_shared<Catcher>()) {
    options.outputs.push_back(catcher);
    auto opened = Logger::open(options);
    REQUIRE(opened.has_value());
    logger = std::move(opened).value();
  }
  static LoggerOptions plain() {
    LoggerOptions options;
    options.level = LogLevel::debug;
    options.repeats_per_s = 0;
    return options;
  }
  std::shared_ptr<Catcher> catcher;
  std::unique_ptr<Logger> logger;
};

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

TEST_CASE("flush returns when every line before it is with the outputs") {
  Fixture f;
  for (int index = 0; index < 10000; ++index) {
    f.logger->write(LogLevel::info, "m", "line " + std::to_string(index));
    if (index % 1000 == 0) {
      REQUIRE(f.logger->flush(10 * second_us).has_value());
      CHECK(f.catcher->all().size() == static_cast<std::size_t>(index) + 1);
    }
  }
  REQUIRE(f.logger->close(10 * second_us).has_value());
  const auto lines = f.catcher->all();
  REQUIRE(lines.size() == 10000);
  for (int index = 0; index < 10000; ++index)
    REQUIRE(lines[static_cast<std::size_t>(index)].message == "line " + std::to_string(index));
  CHECK(f.logger->flush(0).error().status == Status::wrong_state);
  f.logger->write(LogLevel::error, "m", "after the end");
  CHECK(f.catcher->all().size() == 10000);
}

TEST_CASE("close hands on what was written, many times over") {
  for (int round = 0; round < 50; ++round) {
    Fixture f;
    std::vector<std::thread> threads;
    for (int index = 0; index < 3; ++index) {
      threads.emplace_back([&] {
        for (int line = 0; line < 100; ++line) f.logger->write(LogLevel::info, "m", "x");
      });
    }
    for (auto& thread : threads) thread.join();
    REQUIRE(f.logger->close(10 * second_us).has_value());
    CHECK(f.catcher->all().size() == 300);
  }
}

TEST_CASE("levels above the set one cost nothing and go nowhere, and the level may change") {
  auto options = Fixture::plain();
  options.level = LogLevel::warning;
  Fixture f(options);
  CHECK_FALSE(f.logger->enabled(LogLevel::info));
  CHECK_FALSE(f.logger->enabled(LogLevel::off));
  f.logger->write(LogLevel::info, "m", "not this");
  f.logger->set_level(LogLevel::info);
  f.logger->write(LogLevel::info, "m", "this");
  f.logger->set_level(LogLevel::off);
  f.logger->write(LogLevel::error, "m", "nor this");
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  REQUIRE(f.catcher->all().size() == 1);
  CHECK(f.catcher->all()[0].message == "this");
}

TEST_CASE("threads, more than have rings: each one's lines come whole, once and in order") {
  auto options = Fixture::plain();
  options.ring_limit = 3;
  options.full_wait_us = 1'000'000;
  Fixture f(options);
  constexpr int each = 2000;
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 8; ++writer) {
    threads.emplace_back([&, writer] {
      for (int index = 0; index < each; ++index) {
        f.logger->write(LogLevel::info, std::to_string(writer), std::to_string(index));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  REQUIRE(f.logger->close(20 * second_us).has_value());
  std::map<std::string, int> next;
  for (const auto& line : f.catcher->all()) {
    REQUIRE(line.message == std::to_string(next[line.module]));
    ++next[line.module];
  }
  for (const auto& [writer, count] : next) CHECK(count == each);
  CHECK(next.size() == 8);
}

TEST_CASE("rings of threads that have ended are used again") {
  auto options = Fixture::plain();
  options.ring_limit = 2;
  Fixture f(options);
  for (int round = 0; round < 50; ++round) {
    std::thread([&] { f.logger->write(LogLevel::info, "m", std::to_string(round)); }).join();
    REQUIRE(f.logger->flush(10 * second_us).has_value());
  }
  const auto lines = f.catcher->all();
  REQUIRE(lines.size() == 50);
  for (std::size_t index = 1; index < lines.size(); ++index) CHECK(lines[index].thread != lines[index - 1].thread);
}

TEST_CASE("an error is with the outputs within 10 ms, from sleep and from half-sleep") {
  Fixture f;
  std::vector<std::int64_t> waits;
  for (int round = 0; round < 20; ++round) {
    // Asleep after 200 ms without a line, half asleep before.
    if (round % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(260));
    const auto begun = now_us();
    f.logger->write(LogLevel::error, "m", "now");
    REQUIRE(f.catcher->wait_for(static_cast<std::size_t>(round) + 1, 10 * second_us));
    waits.push_back(now_us() - begun);
  }
  std::sort(waits.begin(), waits.end());
  MESSAGE("median " << waits[10] << " us, longest " << waits.back() << " us");
  // On a machine that is busy with other things the median says what we do, the longest what it does.
  CHECK(waits[10] < 10'000);
}

TEST_CASE("while nothing is logged nothing wakes up") {
  Fixture f;
  f.logger->write(LogLevel::info, "m", "x");
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  // Half awake for 200 ms; wait until it sleeps, however busy the machine is.
  auto before = f.logger->statistics().wake_ups;
  for (int turn = 0; turn < 100; ++turn) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const auto now = f.logger->statistics().wake_ups;
    if (now == before) break;
    before = now;
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  CHECK(f.logger->statistics().wake_ups == before);
}

TEST_CASE("a full ring makes a call wait its time and no longer, then the line is lost, counted and told") {
  auto options = Fixture::plain();
  options.ring_bytes = 65536;
  options.full_wait_us = 2'000;
  Fixture f(options);
  f.logger->write(LogLevel::info, "m", "block");
  f.catcher->wait_until_blocked();
  const std::string message(1000, 'x');
  std::uint64_t sent = 1;
  std::int64_t longest = 0;
  for (int index = 0; index < 90; ++index, ++sent) {
    const auto begun = now_us();
    f.logger->write(index % 2 == 0 ? LogLevel::info : LogLevel::debug, "m", message);
    longest = std::max(longest, now_us() - begun);
  }
  CHECK(longest >= 2'000);
  CHECK(longest < 500'000);
  CHECK(f.logger->flush(1000).error().status == Status::timed_out);
  f.catcher->release();
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  const auto statistics = f.logger->statistics();
  const auto lost = statistics.dropped[3] + statistics.dropped[4];
  CHECK(lost > 0);
  std::uint64_t seen = 0;
  std::uint64_t told = 0;
  for (const auto& line : f.catcher->all()) {
    if (line.module == "log") {
      told += line.dropped;
      CHECK(line.message.find("lines were lost for want of room") != std::string::npos);
    } else {
      ++seen;
    }
  }
  CHECK(told == lost);
  CHECK(seen + lost == sent);
}

TEST_CASE("levels that must not wait do not") {
  auto options = Fixture::plain();
  options.ring_bytes = 65536;
  options.full_wait_us = 1'000'000;
  options.wait_from = LogLevel::error;
  Fixture f(options);
  f.logger->write(LogLevel::info, "m", "block");
  f.catcher->wait_until_blocked();
  const std::string message(1000, 'x');
  const auto begun = now_us();
  for (int index = 0; index < 200; ++index) f.logger->write(LogLevel::info, "m", message);
  CHECK(now_us() - begun < 900'000);
  CHECK(f.logger->statistics().dropped[3] > 0);
  f.catcher->release();
}

TEST_CASE("an output that blocks holds up neither close nor its caller beyond the timeout") {
  auto catcher = std::make_shared<Catcher>();
  {
    auto options = Fixture::plain();
    options.outputs.push_back(catcher);
    auto logger = Logger::open(options).value();
    logger->write(LogLevel::info, "m", "block");
    catcher->wait_until_blocked();
    const auto begun = now_us();
    CHECK(logger->close(20'000).error().status == Status::timed_out);
    CHECK(now_us() - begun < 5 * second_us);
  }
  catcher->release();  // Its thread ends behind us.
  std::weak_ptr<Catcher> left = catcher;
  catcher.reset();
  for (int turn = 0; turn < 1000 && !left.expired(); ++turn) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(left.expired());
}

TEST_CASE("an output that throws is counted, and the others get their lines") {
  auto options = Fixture::plain();
  auto bad = std::make_shared<Catcher>();
  bad->throws = true;
  options.outputs.push_back(bad);
  Fixture f(options);
  for (int index = 0; index < 5; ++index) f.logger->write(LogLevel::info, "m", "x");
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  CHECK(f.catcher->all().size() == 5);
  CHECK(f.logger->statistics().output_failures == 5);
}

TEST_CASE("an output that logs by itself, flushes or closes is not heard, and that is counted") {
  struct Talker final : LogOutput {
    std::atomic<Logger*> logger{nullptr};
    std::atomic<int> calls{0};
    std::atomic<int> refused{0};
    Result<void> write(const LogRecord&) override {
      ++calls;
      auto& to = *logger.load();
      to.write(LogLevel::info, "talker", "I was called");
      to.log(LogLevel::error, "talker", "{} times", calls.load());
      const auto flushed = to.flush(second_us);
      const auto closed = to.close(second_us);
      if (!flushed && flushed.error().status == Status::wrong_state) ++refused;
      if (!closed && closed.error().status == Status::wrong_state) ++refused;
      return gf::success();
    }
  };
  auto talker = std::make_shared<Talker>();
  auto options = Fixture::plain();
  options.outputs.push_back(talker);
  Fixture f(options);
  talker->logger = f.logger.get();
  for (int index = 0; index < 10; ++index) f.logger->write(LogLevel::info, "m", "x");
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  REQUIRE(f.logger->close(10 * second_us).has_value());
  CHECK(talker->calls == 10);
  CHECK(talker->refused == 20);
  CHECK(f.catcher->all().size() == 10);
  CHECK(f.logger->statistics().recursive == 20);
}

TEST_CASE("golden: arguments are kept as they are and rendered behind, as fmt renders them") {
  Fixture f;
  std::string text = "copied";
  const char* const pointer = "pointer";
  f.logger->log(LogLevel::info, "m", "no arguments, {{}}");
  f.logger->log(LogLevel::info, "m", "{} {} {} {} {}", -5, std::uint64_t{18446744073709551615u}, 0.5, true, text);
  text = "GONE!!";
  f.logger->log(LogLevel::warning, "m", "{:>6}|{:06.2f}|{:#x}|{}", pointer, 3.14159, 255u, std::string_view("view"));
  f.logger->log(LogLevel::info, "m", "{0}{1}{2}{3}{4}{5}{6}{7}{8}{9}{10}{11}{12}{13}{14}{15}", 1, "a", 2, "b", 3, "c",
                4, "d", 5, "e", 6, "f", 7, "g", 8, "h");
  f.logger->log(LogLevel::info, "m", "password={}", "geheim");
  f.logger->log(LogLevel::info, "m", "{}", std::string(10'000, 'y'));
  f.logger->log(LogLevel::info, "m", "{:>20000}", 1);
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  const auto lines = f.catcher->all();
  REQUIRE(lines.size() == 7);
  CHECK(lines[0].message == "no arguments, {}");
  CHECK(lines[1].message == "-5 18446744073709551615 0.5 true copied");
  CHECK(lines[2].message == "pointer|003.14|0xff|view");
  CHECK(lines[2].level == LogLevel::warning);
  CHECK(lines[3].message == "1a2b3c4d5e6f7g8h");
  CHECK(lines[4].message == "password=***");
  CHECK(lines[5].message == std::string(512, 'y'));  // As long as a field's text.
  CHECK(lines[6].message.ends_with("... (3616 bytes more)"));
  CHECK(f.logger->statistics().format_errors == 0);
}

TEST_CASE("a format that comes at run time and does not fit is counted, and shown as it came") {
  using gf::error::LogArgument;
  using gf::error::detail::argument_of;
  Fixture f;
  const std::string_view word = "word";
  const std::vector<LogArgument> given = {argument_of(7), argument_of(word)};
  struct Row {
    std::string format;
    std::string shown;
    bool fits;
  };
  const std::vector<Row> rows = {
      {"{} {}", "7 word", true},
      {"{1}", "word", true},
      {"{:4}|", "   7|", true},
      {"{{{}}}", "{7}", true},
      {"", "", true},
      {"{:.9999}", "{:.9999} [7] [word]", false},  // No precision for whole numbers.
      {"{} {} {}", "{} {} {} [7] [word]", false},
      {"{:s}", "{:s} [7] [word]", false},
      {"{", "{ [7] [word]", false},
      {"}", "} [7] [word]", false},
      {"{:10000}", "{:10000} [7] [word]", false},
      {"{:99999999999999999999}", "{:99999999999999999999} [7] [word]", false},
      {"{:{}}", "{:{}} [7] [word]", false},
      {"{0:{0}}", "{0:{0}} [7] [word]", false},
      {"{name}", "{name} [7] [word]", false},
  };
  for (const auto& row : rows) f.logger->write_format(LogLevel::info, "m", row.format, given);
  const std::string endless(20'000, '{');
  f.logger->write_format(LogLevel::info, "m", endless, given);
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  const auto lines = f.catcher->all();
  REQUIRE(lines.size() == rows.size() + 1);
  std::uint64_t errors = 1;
  for (std::size_t index = 0; index < rows.size(); ++index) {
    CAPTURE(rows[index].format);
    CHECK(lines[index].message == rows[index].shown);
    errors += rows[index].fits ? 0 : 1;
  }
  CHECK(lines.back().message.starts_with("{{{{"));
  CHECK(f.logger->statistics().format_errors == errors);
}

TEST_CASE("random formats and arguments: every line comes, whatever they are") {
  using gf::error::LogArgument;
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  Fixture f;
  constexpr std::string_view letters = "{}{}:0123.<>^#+-xXeEdscL ab\n\x1b\xff";
  constexpr int count = 5000;
  std::string text;
  for (int round = 0; round < count; ++round) {
    std::string format;
    for (auto size = random() % 24; size > 0; --size) format += letters[random() % letters.size()];
    text.assign(random() % 600, static_cast<char>('a' + round % 26));
    std::vector<LogArgument> given(random() % 18);
    for (auto& argument : given) {
      argument.kind = static_cast<gf::error::ValueKind>(random() % 5);
      argument.value = argument.kind == gf::error::ValueKind::text ? text.size() : random();
      argument.text = text.data();
    }
    f.logger->write_format(LogLevel::info, "m", format, given);
    if (round % 100 == 99) REQUIRE(f.logger->flush(20 * second_us).has_value());
  }
  REQUIRE(f.logger->close(20 * second_us).has_value());
  const auto lines = f.catcher->all();
  CHECK(lines.size() == count);
  for (const auto& line : lines) REQUIRE(std::count(line.text.begin(), line.text.end(), '\n') == 1);
}

TEST_CASE("lines of a format are limited as one, whatever their arguments") {
  auto options = Fixture::plain();
  options.repeats_per_s = 5;
  Fixture f(options);
  const std::array<const char*, 3> words = {"alpha", "beta gamma", "d"};
  for (int index = 0; index < 300; ++index) {
    f.logger->log(LogLevel::info, "m", "model {} is loaded", words[static_cast<std::size_t>(index) % 3]);
    f.logger->log(LogLevel::info, "m", "{}", std::string(static_cast<std::size_t>(index % 3) + 1, 'x') + " alone");
  }
  REQUIRE(f.logger->close(10 * second_us).has_value());
  std::uint64_t stands_for = 0;
  std::size_t shown = 0;
  for (const auto& line : f.catcher->all()) {
    if (!line.message.starts_with("model ")) continue;
    ++shown;
    stands_for += line.repeated > 0 ? line.repeated : 1;
  }
  CHECK(stands_for == 300);
  CHECK(shown < 60);
}

TEST_CASE("times are the clock's, though lines carry the processor's counter") {
  Fixture f;
  const auto unix_now = [] {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  std::vector<std::int64_t> before;
  std::vector<std::int64_t> after;
  for (int round = 0; round < 50; ++round) {
    before.push_back(unix_now());
    f.logger->log(LogLevel::info, "m", "round {}", round);
    after.push_back(unix_now());
    if (round % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(7));
  }
  REQUIRE(f.logger->close(10 * second_us).has_value());
  const auto lines = f.catcher->all();
  REQUIRE(lines.size() == 50);
  // The counter's rate is known the better the longer it was watched; here for milliseconds.
  for (std::size_t round = 0; round < 50; ++round) {
    CHECK(lines[round].unix_us >= before[round] - 2000);
    CHECK(lines[round].unix_us <= after[round] + 2000);
    if (round > 0) CHECK(lines[round].unix_us >= lines[round - 1].unix_us);
  }
  struct Stopped final : gf::Clock {
    std::int64_t now_us() const noexcept override { return 1; }
    std::int64_t unix_us() const noexcept override { return 1'234'567; }
  };
  static const Stopped stopped;
  auto options = Fixture::plain();
  options.clock = &stopped;
  Fixture given(options);
  given.logger->log(LogLevel::info, "m", "x");
  REQUIRE(given.logger->close(10 * second_us).has_value());
  CHECK(given.catcher->all().at(0).unix_us == 1'234'567);
}

TEST_CASE("a logger that is polled has no thread: lines wait in their rings, and are there at once") {
  LoggerOptions options = Fixture::plain();
  options.polled = true;
  options.full_wait_us = 0;
  const auto logger = Logger::open(options).value();
  const auto take_all = [&] {
    std::vector<std::string> messages;
    while (logger->poll([&](const gf::error::PollOutput::Line& line) {
      messages.push_back(line.message);
      return true;
    })) {
    }
    return messages;
  };
  CHECK(take_all().empty());
  logger->log(LogLevel::info, "m", "one {}", 1);
  std::thread([&] { logger->write(LogLevel::info, "m", "two"); }).join();
  CHECK(take_all() == std::vector<std::string>{"one 1", "two"});
  CHECK(logger->flush(0).has_value());
  CHECK(logger->statistics().wake_ups == 0);
  logger->write(LogLevel::info, "m", "last");
  CHECK(logger->close(0).has_value());
  logger->write(LogLevel::info, "m", "too late");
  CHECK(take_all() == std::vector<std::string>{"last"});
  options.outputs.push_back(std::make_shared<Catcher>());
  CHECK(Logger::open(options).error().message.starts_with("outputs are given"));
}

TEST_CASE("in a crash note a polled logger's lines are masked, and there before anybody polls") {
  LoggerOptions options = Fixture::plain();
  options.polled = true;
  options.crash_note = std::make_shared<gf::error::CrashNote>();
  const auto logger = Logger::open(options).value();
  logger->write(LogLevel::error, "m", "redis://u:geheim@h went away");
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(options.crash_note->write(ends[1]));
  close(ends[1]);
  char buffer[4096];
  const auto got = read(ends[0], buffer, sizeof buffer);
  close(ends[0]);
  REQUIRE(got > 0);
  const std::string note(buffer, static_cast<std::size_t>(got));
  CHECK(note.find("redis://u:***@h went away") != std::string::npos);
}

TEST_CASE("a million equal lines among others are under a hundred, and none is uncounted") {
  auto options = Fixture::plain();
  options.repeats_per_s = 5;
  options.full_wait_us = 1'000'000;
  Fixture f(options);
  const auto begun = now_us();
  constexpr int equal = 100'000;
  for (int index = 0; index < equal; ++index) {
    f.logger->write(LogLevel::warning, "driver", "device 3 lost packet " + std::to_string(index));
    if (index % 10'000 == 0)
      f.logger->write(LogLevel::info, "m", "other " + std::string(static_cast<std::size_t>(index / 10'000) + 1, 'a'));
  }
  REQUIRE(f.logger->close(60 * second_us).has_value());
  const auto seconds = (now_us() - begun) / second_us + 2;
  std::uint64_t stands_for = 0;
  std::size_t shown = 0;
  std::size_t others = 0;
  for (const auto& line : f.catcher->all()) {
    if (line.module == "m") {
      ++others;
      continue;
    }
    REQUIRE(line.module == "driver");
    CHECK(line.level == LogLevel::warning);
    ++shown;
    stands_for += line.repeated > 0 ? line.repeated : 1;
    if (line.repeated > 0) CHECK(line.text.find("(repeated ") != std::string::npos);
  }
  CHECK(others == 10);
  CHECK(stands_for == equal);
  CHECK(shown <= 6 * static_cast<std::size_t>(seconds));
  CHECK(f.logger->statistics().left_out > 0);
}

TEST_CASE("fields, job and trace come through; secrets do not") {
  Fixture f;
  gf::error::LogContext context;
  context.job = {1, 2};
  context.trace = {3, 4, 5, 1};
  const std::array<LogField, 4> fields = {{{"url", std::string_view("redis://u:geheim@h")},
                                           {"password", std::string_view("geheim")},
                                           {"count", std::uint64_t{7}},
                                           {"long", std::string_view("0123456789")}}};
  f.logger->write(LogLevel::info, "m", "token=geheim for you", context, fields);
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  const auto text = f.catcher->all().at(0).text;
  CHECK(text.find("geheim") == std::string::npos);
  CHECK(text.find("url=redis://u:***@h password=*** count=7 long=0123456789") != std::string::npos);
  CHECK(text.find("job=00000000000000010000000000000002 trace=00000000000000030000000000000004") != std::string::npos);
  CHECK(f.logger->statistics().masked == 1);
}

TEST_CASE("endless messages, names and fields are cut, and the line says so") {
  Fixture f;
  const std::string endless(1 << 20, 'a');
  const std::vector<LogField> fields(100, LogField{endless, std::string_view(endless)});
  f.logger->write(LogLevel::info, endless, endless, {}, fields);
  std::string letters;
  while (letters.size() < Logger::longest_message + 10) letters += "\xC3\xA9";
  f.logger->write(LogLevel::info, "m", "x" + letters);
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  const auto lines = f.catcher->all();
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].message.size() < Logger::longest_message + 40);
  CHECK(lines[0].message.ends_with("... (1032192 bytes more)"));
  CHECK(lines[0].text.size() < 30'000);
  CHECK(lines[1].text.find("\\xc3") == std::string::npos);
}

TEST_CASE("records of all sizes go round a small ring whole") {
  auto options = Fixture::plain();
  options.ring_bytes = 65536;
  options.full_wait_us = 1'000'000;
  Fixture f(options);
  for (std::size_t index = 0; index < 600; ++index) {
    f.logger->write(LogLevel::info, "m", std::string(index * 37 % 9000, static_cast<char>('a' + index % 26)));
  }
  REQUIRE(f.logger->close(20 * second_us).has_value());
  const auto lines = f.catcher->all();
  REQUIRE(lines.size() == 600);
  for (std::size_t index = 0; index < 600; ++index) {
    REQUIRE(lines[index].message == std::string(index * 37 % 9000, static_cast<char>('a' + index % 26)));
  }
}

#if !defined(__SANITIZE_THREAD__)  // Which stops a child that makes threads after a fork.
TEST_CASE("a fork's child logs nothing and never hangs, and the parent goes on") {
  Fixture f;
  f.logger->write(LogLevel::info, "m", "before");
  std::atomic<bool> over{false};
  std::thread busy([&] {
    while (!over) f.logger->write(LogLevel::debug, "m", "under load");
  });
  for (int round = 0; round < 10; ++round) {
    const auto child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(20);
      for (int index = 0; index < 5000; ++index) f.logger->write(LogLevel::error, "child", "in the child");
      const bool refused = f.logger->flush(1000).has_error();
      const bool closed = f.logger->close(1000).has_value();
      _exit(refused && closed ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  over = true;
  busy.join();
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  for (const auto& line : f.catcher->all()) CHECK(line.module != "child");
}
#endif

TEST_CASE("two loggers in one thread keep their lines apart, also when one goes") {
  Fixture one;
  {
    Fixture two;
    for (int index = 0; index < 10; ++index) {
      one.logger->write(LogLevel::info, "m", "one");
      two.logger->write(LogLevel::info, "m", "two");
    }
    REQUIRE(two.logger->close(10 * second_us).has_value());
    CHECK(two.catcher->all().size() == 10);
  }
  Fixture three;
  three.logger->write(LogLevel::info, "m", "three");
  one.logger->write(LogLevel::info, "m", "one");
  REQUIRE(three.logger->flush(10 * second_us).has_value());
  REQUIRE(one.logger->flush(10 * second_us).has_value());
  CHECK(one.catcher->all().size() == 11);
  CHECK(three.catcher->all().size() == 1);
}

TEST_CASE("the last lines lie in the crash note") {
  auto options = Fixture::plain();
  options.crash_note = std::make_shared<gf::error::CrashNote>();
  Fixture f(options);
  f.logger->write(LogLevel::error, "m", "the end is near");
  REQUIRE(f.logger->flush(10 * second_us).has_value());
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(options.crash_note->write(ends[1]));
  close(ends[1]);
  char buffer[4096];
  const auto got = read(ends[0], buffer, sizeof buffer);
  close(ends[0]);
  REQUIRE(got > 0);
  CHECK(std::string(buffer, static_cast<std::size_t>(got)).find("error m [") != std::string::npos);
}

TEST_CASE("options out of range are refused by name") {
  struct Row {
    void (*change)(LoggerOptions&);
    std::string named;
  };
  const std::vector<Row> rows = {
      {[](LoggerOptions& o) { o.level = static_cast<LogLevel>(5); }, "level is 5"},
      {[](LoggerOptions& o) { o.wait_from = static_cast<LogLevel>(9); }, "wait_from is 9"},
      {[](LoggerOptions& o) { o.ring_bytes = 32768; }, "ring_bytes is 32768"},
      {[](LoggerOptions& o) { o.ring_bytes = 65537; }, "ring_bytes is 65537"},
      {[](LoggerOptions& o) { o.ring_limit = 0; }, "ring_limit is 0"},
      {[](LoggerOptions& o) { o.full_wait_us = -1; }, "full_wait_us is -1"},
      {[](LoggerOptions& o) { o.full_wait_us = 1'000'001; }, "full_wait_us is 1000001"},
      {[](LoggerOptions& o) { o.outputs.push_back(nullptr); }, "an output is null"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.named);
    LoggerOptions options;
    row.change(options);
    const auto made = Logger::open(options);
    REQUIRE(made.has_error());
    CHECK(made.error().message.starts_with(row.named));
  }
}
