// What a call costs that is protected, counted or logged: beside a breaker with a mutex, and beside spdlog.
//
//   gameforge_bench_errors [--rounds N]     prints Markdown; each figure is the median over the rounds, and the two
//   sides
//                                           take turns within each round
#include "base/clock.hpp"
#include "base/platform_ticks.hpp"
#include "error/aggregator.hpp"
#include "error/breaker.hpp"
#include "error/fingerprint.hpp"
#include "error/logger.hpp"

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>
#include <time.h>
#include <unistd.h>

namespace {

using gf::LogLevel;
using namespace gf::error;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

/// For times of single calls: the processor's counter where it is steady, since a look at the clock costs as much as
/// what is to be measured, and the clock may move in steps of 10 ns. Its rate is taken from the clock.
class Stopwatch {
 public:
  Stopwatch() : steady_(gf::has_steady_ticks()) {
    if (!steady_) return;
    const auto clock = now_ns();
    const auto counter = gf::ticks();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const auto passed_ns = now_ns() - clock;
    ns_a_tick_ = static_cast<double>(passed_ns) / static_cast<double>(gf::ticks() - counter);
    // What measuring nothing takes.
    std::vector<double> nothing;
    for (int times = 0; times < 10'000; ++times) {
      const auto before = now();
      nothing.push_back(static_cast<double>(now() - before) * ns_a_tick_);
    }
    empty_ns = median(nothing);
  }
  std::uint64_t now() const { return steady_ ? gf::ticks() : static_cast<std::uint64_t>(now_ns()); }
  double ns_since(std::uint64_t before) const { return static_cast<double>(now() - before) * ns_a_tick_; }
  double empty_ns = 0;

 private:
  const bool steady_;
  double ns_a_tick_ = 1;
};

/// The usual breaker: one lock, one list of outcomes of the last so many calls.
class MutexBreaker {
 public:
  bool allow(std::int64_t now_us) {
    const std::lock_guard lock(mutex_);
    if (open_until_us_ > now_us) return false;
    return true;
  }
  void record(std::int64_t now_us, bool failed) {
    const std::lock_guard lock(mutex_);
    outcomes_.push_back(failed);
    failures_ += failed ? 1 : 0;
    if (outcomes_.size() > 100) {
      failures_ -= outcomes_.front() ? 1 : 0;
      outcomes_.pop_front();
    }
    if (outcomes_.size() >= 10 && failures_ * 2 >= outcomes_.size()) open_until_us_ = now_us + 30'000'000;
  }

 private:
  std::mutex mutex_;
  std::deque<bool> outcomes_;
  std::size_t failures_ = 0;
  std::int64_t open_until_us_ = 0;
};

/// Nanoseconds a call, of `threads` that each make `calls`. Threads wait for each other, so that none runs alone.
double time_calls(int threads, int calls, const std::function<void(int)>& body) {
  std::atomic<int> ready{0};
  std::vector<std::thread> running;
  std::vector<double> each(static_cast<std::size_t>(threads));
  for (int index = 0; index < threads; ++index) {
    running.emplace_back([&, index] {
      ++ready;
      while (ready < threads) {
      }
      // The processor time of the thread: on a machine that is shared, the clock on the wall times the others.
      timespec before{};
      timespec after{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
      body(calls);
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
      each[static_cast<std::size_t>(index)] = (static_cast<double>(after.tv_sec - before.tv_sec) * 1e9 +
                                               static_cast<double>(after.tv_nsec - before.tv_nsec)) /
                                              calls;
    });
  }
  for (auto& thread : running) thread.join();
  return *std::max_element(each.begin(), each.end());
}

void breakers(int rounds) {
  std::printf("### Circuit breaker: allow and record of a success, closed, time passed in, CPU time\n\n");
  std::printf(
      "| threads | GameForge | with slow calls watched | count window | mutex | share "
      "|\n|---:|---:|---:|---:|---:|---:|\n");
  for (const int threads : {1, 2}) {
    std::vector<double> ours, slow, counted, theirs;
    for (int round = 0; round < rounds; ++round) {
      BreakerOptions options;
      const auto run = [&](const BreakerOptions& wanted) {
        const auto breaker = CircuitBreaker::create(wanted).value();
        return time_calls(threads, 2'000'000, [&](int calls) {
          for (int call = 0; call < calls; ++call) {
            auto permit = breaker->allow(call);
            permit.success(call);
          }
        });
      };
      ours.push_back(run(options));
      MutexBreaker mutex;
      theirs.push_back(time_calls(threads, 500'000, [&](int calls) {
        for (int call = 0; call < calls; ++call) {
          if (mutex.allow(call)) mutex.record(call, false);
        }
      }));
      options.slow_call_us = 1'000'000;
      slow.push_back(run(options));
      options.slow_call_us = 0;
      options.window = BreakerOptions::Window::count;
      counted.push_back(run(options));
    }
    std::printf("| %d | %.1f ns | %.1f ns | %.1f ns | %.1f ns | 1/%.1f |\n", threads, median(ours), median(slow),
                median(counted), median(theirs), median(theirs) / median(ours));
  }
  std::printf("\n");
}

void fingerprints(int rounds) {
  std::printf("### Fingerprints and aggregation\n\n| what | time |\n|---|---:|\n");
  const std::string text =
      "connection to server at \"db-17.example\" (10.11.12.13), port 5432 failed: timeout after 3000 ms, job a8f3k2 of "
      "12";
  gf::Error error{gf::Status::disk_full, "no space", {}};
  error = gf::wrap(gf::wrap(std::move(error), gf::Status::io_error, "not stored"), gf::Status::internal, "job 7 ended");
  std::vector<double> own, foreign, recorded;
  std::uint64_t sum = 0;
  const auto aggregator = ErrorAggregator::create({}, 0).value();
  for (int round = 0; round < rounds; ++round) {
    own.push_back(time_calls(1, 1'000'000, [&](int calls) {
      for (int call = 0; call < calls; ++call) sum += fingerprint_of(error);
    }));
    foreign.push_back(time_calls(1, 200'000, [&](int calls) {
      for (int call = 0; call < calls; ++call) sum += fingerprint_of_text(text);
    }));
    recorded.push_back(time_calls(1, 200'000, [&](int calls) {
      for (int call = 0; call < calls; ++call) aggregator->record(error, {}, (round * 200 + call / 1000) * 1'000'000LL);
    }));
  }
  std::printf("| fingerprint of our own error, three links | %.0f ns |\n", median(own));
  std::printf("| fingerprint of a foreign text, %zu bytes | %.0f ns |\n", text.size(), median(foreign));
  std::printf("| an error recorded, 1000 a second | %.0f ns |\n\n", median(recorded));
  if (sum == 42) std::printf("\n");  // So that the sums are needed.
}

struct Percentiles {
  double p50;
  double p99;
};

Percentiles percentiles(std::vector<double>& times) {
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[times.size() * 99 / 100]};
}

/// Times of single calls: bursts of 200 lines with a pause that lets a back end come after, or 100 lines a second.
std::vector<double> time_lines(const Stopwatch& watch, bool steady, const std::function<void(int)>& log) {
  std::vector<double> times;
  const int count = steady ? 200 : 20'000;
  times.reserve(static_cast<std::size_t>(count));
  for (int line = 0; line < count; ++line) {
    if (steady) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!steady && line % 200 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const auto before = watch.now();
    log(line);
    times.push_back(watch.ns_since(before));
  }
  return times;
}

void logging(int rounds) {
  auto folder = (std::filesystem::temp_directory_path() / "gameforge-bench-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return;
  const Stopwatch watch;
  std::printf("### Logging one line to a file, a call\n\n");
  std::printf(
      "| how | GameForge p50 | p99 | spdlog (file, synchronous) p50 | p99 | p50's share | p99's share |\n"
      "|---|---:|---:|---:|---:|---:|---:|\n");
  for (const bool steady : {false, true}) {
    std::vector<double> our50, our99, their50, their99;
    for (int round = 0; round < rounds; ++round) {
      {
        LoggerOptions options;
        options.repeats_per_s = 0;
        FileOutputOptions file;
        file.path = folder + "/ours.log";
        options.outputs = {FileOutput::open(file).value()};
        const auto logger = Logger::open(options).value();
        auto times = time_lines(watch, steady, [&](int line) {
          logger->log(LogLevel::info, "bench", "step {} of {} took {} us", line, 20, line * 3);
        });
        (void)logger->close(10'000'000);
        const auto p = percentiles(times);
        our50.push_back(p.p50);
        our99.push_back(p.p99);
      }
      {
        auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(folder + "/theirs.log", true);
        spdlog::logger logger("bench", sink);
        auto times =
            time_lines(watch, steady, [&](int line) { logger.info("step {} of {} took {} us", line, 20, line * 3); });
        const auto p = percentiles(times);
        their50.push_back(p.p50);
        their99.push_back(p.p99);
      }
    }
    std::printf("| %s | %.0f ns | %.0f ns | %.0f ns | %.0f ns | 1/%.1f | 1/%.1f |\n",
                steady ? "100 lines a second" : "bursts of 200", median(our50), median(our99), median(their50),
                median(their99), median(their50) / median(our50), median(their99) / median(our99));
  }
  std::printf("\nOf each of these times %.0f ns is what measuring nothing takes.\n", watch.empty_ns);
  {
    LoggerOptions options;
    options.level = LogLevel::warning;
    const auto logger = Logger::open(options).value();
    const auto off = time_calls(1, 10'000'000, [&](int calls) {
      for (int call = 0; call < calls; ++call) {
        if (logger->enabled(LogLevel::debug)) logger->write(LogLevel::debug, "bench", "never");
      }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    const auto before = logger->statistics().wake_ups;
    std::this_thread::sleep_for(std::chrono::seconds(3));
    std::printf("\nA disabled level: %.2f ns. Wake-ups of the back end in 3 idle seconds: %llu.\n", off,
                static_cast<unsigned long long>(logger->statistics().wake_ups - before));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace

int main(int count, char** words) {
  int rounds = 5;
  for (int at = 1; at + 1 < count; ++at) {
    if (std::strcmp(words[at], "--rounds") == 0) rounds = std::max(1, std::atoi(words[at + 1]));
  }
  breakers(rounds);
  fingerprints(rounds);
  logging(rounds);
  std::printf("\nCommand: `bench/compare errors`, %d rounds.\n", rounds);
  return 0;
}
