// A process that shares a breaker, for the tests that watch several: breaker_host URL QUORUM OPEN_MS PROBES TO_CLOSE
// LEASE_MS TIMEOUT_MS COUNTS makes the breaker "service" and does what it reads on standard input, a line each; COUNTS
// is a file that all map.
#include "error/shared_breakers.hpp"
#include "probe_counts.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace gf::error;

namespace {

std::int64_t now_us() { return gf::system_clock().now_us(); }
void answer(const std::string& line) { std::cout << line << std::endl; }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) return 2;
  auto* counts = gf::test::map_counts(argv[8]);
  if (counts == nullptr) return 2;
  SharedBreakersOptions sharing;
  sharing.url = argv[1];
  sharing.quorum = static_cast<std::uint32_t>(std::atoi(argv[2]));
  sharing.command_timeout_us = std::atoll(argv[7]) * 1000;
  sharing.flush_us = 50'000;
  sharing.look_every_us = 1'000'000;
  BreakerOptions options;
  options.open_us = std::atoll(argv[3]) * 1000;
  options.max_open_us = std::max(options.max_open_us, options.open_us);
  options.probes = static_cast<std::uint32_t>(std::atoi(argv[4]));
  options.probes_to_close = static_cast<std::uint32_t>(std::atoi(argv[5]));
  options.probe_lease_us = std::atoll(argv[6]) * 1000;
  options.failures_in_a_row = 3;
  options.jitter_seed = static_cast<std::uint64_t>(now_us());
  const auto breaker = CircuitBreaker::create(options).value();
  auto shared = SharedBreakers::open(sharing);
  if (!shared) return 3;
  if (const auto joined = shared.value()->share(breaker, "service", 5'000'000); !joined) {
    answer(joined.error().message);
    return 4;
  }
  answer("ready");
  std::vector<CircuitBreaker::Token> held;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "trip") {
      while (breaker->state(now_us()) == BreakerState::closed) {
        if (auto permit = breaker->allow(now_us())) permit.failure(now_us());
      }
      answer(std::to_string(now_us()));
    } else if (word == "await") {
      std::string state;
      std::int64_t ms = 0;
      words >> state >> ms;
      const auto until = now_us() + ms * 1000;
      while (name_of(breaker->state(now_us())) != state && now_us() < until) {
        std::this_thread::sleep_for(std::chrono::microseconds(500));
      }
      answer(name_of(breaker->state(now_us())) == state ? std::to_string(now_us()) : "late");
    } else if (word == "hammer") {
      // Calls until it has closed or the time is over; each that is let through is a probe.
      std::int64_t ms = 0;
      std::int64_t work_us = 0;
      std::string end;
      words >> ms >> work_us >> end;
      const auto until = now_us() + ms * 1000;
      std::int64_t longest_us = 0;
      int through = 0;
      while (now_us() < until && breaker->state(now_us()) != BreakerState::closed) {
        const auto before = now_us();
        auto permit = breaker->allow(before);
        longest_us = std::max(longest_us, now_us() - before);
        if (!permit) {
          std::this_thread::sleep_for(std::chrono::microseconds(300));
          continue;
        }
        ++through;
        const auto together = counts->in_flight.fetch_add(1) + 1;
        for (auto most = counts->most.load(); most < together && !counts->most.compare_exchange_weak(most, together);) {
        }
        std::this_thread::sleep_for(std::chrono::microseconds(work_us));
        counts->in_flight.fetch_sub(1);
        const auto then = now_us();
        if (end == "fail") {
          permit.failure(then);
        } else if (end == "ignore") {
          permit.not_counted(then);
        } else {
          permit.success(then);
        }
        longest_us = std::max(longest_us, now_us() - then);
      }
      answer(std::to_string(through) + " " + std::to_string(longest_us));
    } else if (word == "calls") {
      // Of any outcome, as fast as they go, each timed.
      std::int64_t count = 0;
      std::string end;
      words >> count >> end;
      std::int64_t through = 0;
      std::int64_t longest_us = 0;
      for (std::int64_t call = 0; call < count; ++call) {
        const auto before = now_us();
        if (auto permit = breaker->allow(before)) {
          ++through;
          if (end == "fail") {
            permit.failure(now_us());
          } else {
            permit.success(now_us());
          }
        }
        longest_us = std::max(longest_us, now_us() - before);
      }
      answer(std::to_string(through) + " " + std::to_string(longest_us));
    } else if (word == "hold") {
      auto permit = breaker->allow(now_us());
      const bool given = static_cast<bool>(permit);
      if (given) held.push_back(permit.detach());
      answer(given ? "held" : "refused");
    } else if (word == "state") {
      answer(std::string(name_of(breaker->state(now_us()))));
    } else if (word == "flush") {
      answer(shared.value()->flush(5'000'000) ? "flushed" : "late");
    } else if (word == "turns") {
      const auto now = shared.value()->statistics();
      answer(std::to_string(now.commands) + " " + std::to_string(now.wake_ups));
    } else if (word == "linked") {
      answer(shared.value()->statistics().linked ? "yes" : "no");
    } else {
      return 2;
    }
  }
  return 0;
}
