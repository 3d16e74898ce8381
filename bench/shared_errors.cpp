// What processes share through Redis: how soon the others see a trip, and what handing over an error costs its caller.
//
//   gameforge_bench_shared_errors URL [--rounds N]     the server is emptied
#include "base/clock.hpp"
#include "error/breaker.hpp"
#include "error/error_store.hpp"
#include "error/shared_breakers.hpp"
#include "redis/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <time.h>

using namespace gf::error;

namespace {

std::int64_t now_us() { return gf::system_clock().now_us(); }

double at_share(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

struct Side {
  explicit Side(const std::string& url) {
    SharedBreakersOptions options;
    options.url = url;
    options.quorum = 1;
    options.command_timeout_us = 20'000'000;
    BreakerOptions of;
    of.failures_in_a_row = 1;
    of.open_us = of.max_open_us = 600'000'000;
    breaker = CircuitBreaker::create(of).value();
    shared = SharedBreakers::open(options).value();
    shared->share(breaker, "bench", 20'000'000).value();
  }
  void wait_for(BreakerState state) const {
    while (breaker->state(now_us()) != state) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  std::shared_ptr<CircuitBreaker> breaker;
  std::unique_ptr<SharedBreakers> shared;
};

}  // namespace

int main(int count, char** words) {
  if (count < 2) return 2;
  const std::string url = words[1];
  int rounds = 200;
  for (int at = 2; at + 1 < count; ++at) {
    if (std::strcmp(words[at], "--rounds") == 0) rounds = std::max(1, std::atoi(words[at + 1]));
  }
  const auto client = gf::redis::Client::create(url).value();
  client->call({"FLUSHALL"}).value();

  std::vector<std::unique_ptr<Side>> sides;
  for (int index = 0; index < 4; ++index) sides.push_back(std::make_unique<Side>(url));
  std::vector<double> seen_us;
  for (int round = 0; round < rounds; ++round) {
    const auto tripping = static_cast<std::size_t>(round % 4);
    const auto begun = now_us();
    sides[tripping]->breaker->allow(begun).failure(begun);
    for (const auto& side : sides) {
      side->wait_for(BreakerState::open);
      if (side != sides[tripping]) seen_us.push_back(static_cast<double>(now_us() - begun));
    }
    sides[0]->shared->force("bench", BreakerState::closed, 0, "bench").value();
    for (const auto& side : sides) side->wait_for(BreakerState::closed);
  }
  sides.clear();

  ErrorStoreOptions options;
  options.url = url;
  options.batch.most_items = 1'000'000;
  options.batch.most_bytes = 1u << 30;
  options.command_timeout_us = 20'000'000;
  const auto store = ErrorStore::open(options).value();
  std::vector<double> record_us;
  const auto begun = now_us();
  constexpr int errors = 20'000;
  for (int index = 0; index < errors; ++index) {
    timespec before{};
    timespec after{};
    clock_gettime(CLOCK_MONOTONIC, &before);
    store->record(gf::Error{gf::Status::io_error, "the tile was not stored", {}}.with("asset", "potion.png"), {});
    clock_gettime(CLOCK_MONOTONIC, &after);
    record_us.push_back(static_cast<double>(after.tv_sec - before.tv_sec) * 1e6 +
                        static_cast<double>(after.tv_nsec - before.tv_nsec) / 1e3);
  }
  store->flush(60'000'000).value();
  const auto took_s = static_cast<double>(now_us() - begun) / 1e6;

  std::printf("### Shared through Redis\n\n| what | median | p99 | most |\n|---|---:|---:|---:|\n");
  std::printf("| a trip, until each of three others is open | %.2f ms | %.2f ms | %.2f ms |\n",
              at_share(seen_us, 0.5) / 1e3, at_share(seen_us, 0.99) / 1e3, at_share(seen_us, 1) / 1e3);
  std::printf("| handing over an error | %.2f us | %.2f us | %.0f us |\n\n", at_share(record_us, 0.5),
              at_share(record_us, 0.99), at_share(record_us, 1));
  std::printf("Stored: %.0f errors a second. %d rounds, %d errors.\n", errors / took_s, rounds, errors);
  return 0;
}
