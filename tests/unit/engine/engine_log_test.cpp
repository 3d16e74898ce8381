#include "engine/engine_log.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using gf::LogLevel;
using gf::engine::EngineLog;
using gf::engine::EngineOptions;
using gf::engine::LogLine;

namespace {

std::unique_ptr<EngineLog> log_of(LogLevel level) {
  EngineOptions options;
  options.log_level = level;
  auto opened = EngineLog::open(options);
  REQUIRE(opened.has_value());
  return std::move(opened).value();
}

}  // namespace

TEST_CASE("levels up to the named one go through, and nothing where the log is off") {
  const auto log = log_of(LogLevel::warning);
  CHECK(log->enabled(LogLevel::error));
  CHECK(log->enabled(LogLevel::warning));
  CHECK_FALSE(log->enabled(LogLevel::info));
  CHECK_FALSE(log->enabled(LogLevel::off));
  log->write(LogLevel::info, "m", "not this");
  CHECK_FALSE(log->poll([](const LogLine&) { return true; }));
  const auto silent = log_of(LogLevel::off);
  silent->write(LogLevel::error, "m", "nor this");
  CHECK_FALSE(silent->poll([](const LogLine&) { return true; }));
}

TEST_CASE("a line can be polled as soon as the call that wrote it has returned, whichever thread wrote it") {
  const auto log = log_of(LogLevel::debug);
  for (int round = 0; round < 200; ++round) {
    const auto text = "round " + std::string(static_cast<std::size_t>(round) + 1, 'x');
    if (round % 2 == 0) {
      log->write(LogLevel::info, "m", text);
    } else {
      std::thread([&] { log->write(LogLevel::info, "m", text); }).join();
    }
    // Shown, and left there once.
    CHECK(log->poll([&](const LogLine& line) {
      CHECK(line.message == text);
      return false;
    }));
    CHECK(log->poll([&](const LogLine& line) {
      CHECK(line.message == text);
      return true;
    }));
    CHECK_FALSE(log->poll([](const LogLine&) { return true; }));
  }
}

TEST_CASE("a full ring makes nobody wait: what comes next is lost, and one line tells how many") {
  const auto log = log_of(LogLevel::debug);
  const std::string filler(1000, 'f');
  std::uint64_t sent = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (; sent < 1000; ++sent) log->write(LogLevel::info, "m", std::to_string(sent) + "x" + filler);
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(5));
  std::uint64_t seen = 0;
  std::uint64_t left_out = 0;
  std::uint64_t lost = 0;
  std::uint64_t next = 0;
  while (log->poll([&](const LogLine& line) {
    if (line.dropped > 0) {
      CHECK(line.module == "log");
      CHECK(line.message.find("lines were lost for want of room") != std::string::npos);
      lost += line.dropped;
    } else if (line.repeated > 0) {
      left_out += line.repeated;
    } else {
      CHECK(line.message.starts_with(std::to_string(next) + "x"));  // The oldest are kept.
      ++next;
      ++seen;
    }
    return true;
  })) {
  }
  CHECK(lost > 0);
  // What repeats is told when its second is over; a line of another kind in its place, or time, brings it.
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  while (log->poll([&](const LogLine& line) {
    left_out += line.repeated;
    return true;
  })) {
  }
  CHECK(seen + lost + left_out == sent);
}

TEST_CASE("what is not UTF-8, endless, or would forge a line is made presentable") {
  const auto log = log_of(LogLevel::debug);
  log->write(LogLevel::info, "m", "bad \xff byte");
  log->write(LogLevel::info, "m\tn", "two\nlines\x1b[31m");
  log->write(LogLevel::info, "m", std::string(1 << 20, 'a'));
  std::vector<LogLine> lines;
  while (log->poll([&](const LogLine& line) {
    lines.push_back(line);
    return true;
  })) {
  }
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].message == "bad \\xff byte");
  CHECK(lines[1].module == "m\\tn");
  CHECK(lines[1].message == "two\\nlines\\x1b[31m");
  CHECK(lines[2].message.size() < 16384 + 40);
  CHECK(lines[2].message.ends_with(" bytes more)"));
}

TEST_CASE("the password of a URL does not get into the log") {
  const auto log = log_of(LogLevel::debug);
  log->write(LogLevel::info, "m", "redis://worker:geheim@host:6379 is gone");
  CHECK(log->poll([](const LogLine& line) {
    CHECK(line.message == "redis://worker:***@host:6379 is gone");
    return true;
  }));
}

TEST_CASE("many writers and two readers: every line comes once or is counted, each writer's in its order") {
  const auto log = log_of(LogLevel::debug);
  constexpr int writers = 4;
  constexpr int each = 5000;
  std::vector<std::thread> threads;
  std::atomic<int> writing{writers};
  for (int writer = 0; writer < writers; ++writer) {
    threads.emplace_back([&, writer] {
      for (int index = 0; index < each; ++index) {
        // Letters, so that no two lines are of one kind and none is held back.
        std::string name;
        for (int digits = index; name.empty() || digits > 0; digits /= 26) name += static_cast<char>('a' + digits % 26);
        log->write(LogLevel::info, "m", name + ":" + std::to_string(writer) + ":" + std::to_string(index));
      }
      --writing;
    });
  }
  std::mutex mutex;
  std::map<int, int> last;
  std::uint64_t seen = 0;
  std::uint64_t dropped = 0;
  const auto take = [&](const LogLine& line) {
    const std::lock_guard lock(mutex);
    dropped += line.dropped;
    if (line.module == "log") return true;
    seen += line.repeated > 0 ? line.repeated : 1;
    if (line.repeated > 0) return true;
    const auto colon = line.message.find(':');
    const int writer = std::stoi(line.message.substr(colon + 1));
    const int index = std::stoi(line.message.substr(line.message.rfind(':') + 1));
    CHECK((!last.contains(writer) || last[writer] < index));
    last[writer] = index;
    return true;
  };
  std::thread other([&] {
    while (writing > 0) log->poll(take);
  });
  while (writing > 0) log->poll(take);
  for (auto& thread : threads) thread.join();
  other.join();
  while (log->poll(take)) {
  }
  CHECK(seen + dropped == writers * each);
}

TEST_CASE("a callback hears the lines in order, and none that begins after mute") {
  struct Heard {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> lines;
    bool hold = true;
    bool inside = false;
  };
  const auto heard = std::make_shared<Heard>();
  EngineOptions options;
  options.log_level = LogLevel::debug;
  options.log_callback = [heard](const LogLine& line) {
    std::unique_lock lock(heard->mutex);
    heard->lines.push_back(line.message);
    heard->inside = true;
    heard->changed.notify_all();
    if (line.message == "hold") heard->changed.wait(lock, [&] { return !heard->hold; });
  };
  auto log = EngineLog::open(options).value();
  CHECK_FALSE(log->is_own_thread());
  for (int index = 0; index < 100; ++index) log->write(LogLevel::info, "m", "line " + std::to_string(index));
  log->write(LogLevel::error, "m", "hold");
  log->write(LogLevel::error, "m", "after");
  {
    std::unique_lock lock(heard->mutex);
    REQUIRE(heard->changed.wait_for(lock, std::chrono::seconds(30),
                                    [&] { return !heard->lines.empty() && heard->lines.back() == "hold"; }));
  }
  CHECK(log->close(1000).error().status == gf::Status::timed_out);
  log->mute();
  {
    const std::lock_guard lock(heard->mutex);
    heard->hold = false;
    heard->changed.notify_all();
  }
  log.reset();
  // Its thread ends behind us and lets the function go.
  for (int turn = 0; turn < 3000 && heard.use_count() > 2; ++turn) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const std::lock_guard lock(heard->mutex);
  REQUIRE(heard->lines.size() == 101);
  for (std::size_t index = 0; index < 100; ++index) CHECK(heard->lines[index] == "line " + std::to_string(index));
}
