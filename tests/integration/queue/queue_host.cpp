// A worker in a process of its own, for the tests that kill it: queue_host URL NAME LEASE_US WORK_US takes jobs and
// completes them until it is killed, or until the queue stays empty for three seconds.
#include "queue/redis_queue.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <unistd.h>

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  gf::queue::RedisQueueOptions options;
  options.url = argv[1];
  options.name = argv[2];
  options.queue.lease_us = std::atoll(argv[3]);
  options.queue.max_crashes = 1000;
  options.queue.kept_finished = 1'000'000;
  auto queue = gf::queue::RedisQueue::create(options);
  if (!queue) {
    std::fprintf(stderr, "%s\n", queue.error().message.c_str());
    return 1;
  }
  gf::queue::ReserveRequest request;
  request.worker = "process " + std::to_string(::getpid());
  request.count = 2;
  request.timeout_us = 3'000'000;
  for (;;) {
    const auto leases = queue.value()->reserve(request);
    if (!leases) return 1;
    if (leases.value().empty()) return 0;
    for (const auto& lease : leases.value()) {
      if (lease.payload == "exit") ::_exit(9);
      std::this_thread::sleep_for(std::chrono::microseconds(std::atoll(argv[4])));
      (void)queue.value()->complete(lease.key);
    }
  }
}
