#include "engine/log_ring.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>
#include <vector>

using gf::LogLevel;
using gf::engine::LogLine;
using gf::engine::LogRing;

TEST_CASE("levels up to the named one go through, and nothing where it is off") {
  LogRing ring(LogLevel::warning, gf::system_clock());
  CHECK(ring.enabled(LogLevel::error));
  CHECK(ring.enabled(LogLevel::warning));
  CHECK_FALSE(ring.enabled(LogLevel::info));
  CHECK_FALSE(ring.enabled(LogLevel::off));
  ring.write(LogLevel::info, "m", "not this");
  CHECK_FALSE(ring.poll([](const LogLine&) { return true; }));
  LogRing silent(LogLevel::off, gf::system_clock());
  silent.write(LogLevel::error, "m", "nor this");
  CHECK_FALSE(silent.poll([](const LogLine&) { return true; }));
}

TEST_CASE("a full ring loses what comes next, and the line after that tells how many") {
  LogRing ring(LogLevel::debug, gf::system_clock());
  for (std::size_t index = 0; index < LogRing::capacity + 7; ++index) {
    ring.write(LogLevel::info, "m", std::to_string(index));
  }
  std::size_t count = 0;
  while (ring.poll([&](const LogLine& line) {
    CHECK(line.message == std::to_string(count));
    CHECK(line.dropped == 0);
    return true;
  })) {
    ++count;
  }
  CHECK(count == LogRing::capacity);
  ring.write(LogLevel::info, "m", "after");
  ring.write(LogLevel::info, "m", "then");
  std::vector<std::uint64_t> dropped;
  while (ring.poll([&](const LogLine& line) {
    dropped.push_back(line.dropped);
    return true;
  })) {
  }
  CHECK(dropped == std::vector<std::uint64_t>{7, 0});
}

TEST_CASE("what is not UTF-8, or endless, is made presentable") {
  LogRing ring(LogLevel::debug, gf::system_clock());
  ring.write(LogLevel::info, "m", "bad \xff byte");
  ring.write(LogLevel::info, "m", std::string(1 << 20, 'a'));
  for (int line = 0; line < 2; ++line) {
    CHECK(ring.poll([](const LogLine& shown) {
      CHECK(shown.message.size() < 400);
      CHECK(shown.message.find('\xff') == std::string::npos);
      return true;
    }));
  }
}

TEST_CASE("the password of a URL does not get into the log") {
  LogRing ring(LogLevel::debug, gf::system_clock());
  ring.write(LogLevel::info, "m", "redis://worker:geheim@host:6379 is gone");
  CHECK(ring.poll([](const LogLine& line) {
    CHECK(line.message == "redis://worker:***@host:6379 is gone");
    return true;
  }));
}

TEST_CASE("many writers and two readers: every line comes once or is counted as lost, each writer's in its order") {
  LogRing ring(LogLevel::debug, gf::system_clock());
  constexpr int writers = 4;
  constexpr int each = 5000;
  std::vector<std::thread> threads;
  std::atomic<int> writing{writers};
  for (int writer = 0; writer < writers; ++writer) {
    threads.emplace_back([&, writer] {
      for (int index = 0; index < each; ++index) {
        ring.write(LogLevel::info, "m", std::to_string(writer) + ":" + std::to_string(index));
      }
      --writing;
    });
  }
  std::map<int, int> last;
  std::uint64_t seen = 0;
  std::uint64_t dropped = 0;
  for (bool over = false; !over;) {
    over = writing == 0;
    while (ring.poll([&](const LogLine& line) {
      ++seen;
      dropped += line.dropped;
      const auto colon = line.message.find(':');
      const int writer = std::stoi(line.message.substr(0, colon));
      const int index = std::stoi(line.message.substr(colon + 1));
      CHECK((!last.contains(writer) || last[writer] < index));
      last[writer] = index;
      return true;
    })) {
    }
  }
  for (auto& thread : threads) thread.join();
  ring.write(LogLevel::info, "m", "0:999999");
  ring.poll([&](const LogLine& line) {
    dropped += line.dropped;
    return true;
  });
  CHECK(seen + dropped == writers * each);
}
