// What only the in-process queue has: threads that wait, attachments, memory. What both queues promise is tested in
// tests/integration/queue.
#include "queue/memory_queue.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

using gf::JobId;
using gf::Status;
using namespace gf::queue;

namespace {

constexpr std::int64_t second_us = 1'000'000;

std::unique_ptr<MemoryQueue> queue_of(QueueOptions options = {}) {
  MemoryQueueOptions wanted;
  wanted.queue = options;
  return MemoryQueue::create(std::move(wanted)).value();
}

NewJob job_of(std::string payload, Priority priority = Priority::normal) {
  NewJob job;
  job.payload = std::move(payload);
  job.priority = priority;
  return job;
}

struct Tag final : Attachment {
  explicit Tag(std::atomic<int>& of) : alive(of) { ++alive; }
  ~Tag() override { --alive; }
  std::atomic<int>& alive;
};

}  // namespace

TEST_CASE("who waits for a job is woken by it, by the end of the time and by the closing") {
  auto queue = queue_of();
  ReserveRequest brief;
  brief.timeout_us = 2000;
  const auto begun = std::chrono::steady_clock::now();
  CHECK(queue->reserve(brief).value().empty());
  CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::microseconds(2000));
  std::atomic<int> taken{0};
  std::atomic<int> refused{0};
  std::vector<std::thread> waiters;
  for (int index = 0; index < 3; ++index) {
    waiters.emplace_back([&] {
      ReserveRequest forever;
      forever.timeout_us = std::nullopt;
      for (;;) {
        auto leases = queue->reserve(forever);
        if (!leases) {
          CHECK(leases.error().status == Status::shutting_down);
          ++refused;
          return;
        }
        taken += static_cast<int>(leases.value().size());
      }
    });
  }
  for (int index = 0; index < 50; ++index) REQUIRE(queue->enqueue(job_of("x")).has_value());
  while (taken < 50) std::this_thread::yield();
  queue->close();
  for (auto& waiter : waiters) waiter.join();
  CHECK(taken == 50);
  CHECK(refused == 3);
  CHECK(queue->enqueue(job_of("x")).error().status == Status::shutting_down);
}

TEST_CASE("a sleeper gets up for a delay and for a lease that came after it went to sleep") {
  QueueOptions options;
  options.lease_us = 20'000;
  auto queue = queue_of(options);
  std::atomic<int> taken{0};
  std::thread sleeper([&] {
    ReserveRequest request;
    request.timeout_us = 20 * second_us;
    for (int turn = 0; turn < 2; ++turn) {
      auto leases = queue->reserve(request);
      REQUIRE(leases.has_value());
      REQUIRE(leases.value().size() == 1);
      REQUIRE(queue->complete(leases.value()[0].key).has_value());
      ++taken;
    }
  });
  auto delayed = job_of("later");
  delayed.delay_us = 5'000;
  REQUIRE(queue->enqueue(delayed).has_value());
  while (taken == 0) std::this_thread::yield();
  // Taken by somebody who never comes back.
  queue->set_paused(true).value();
  REQUIRE(queue->enqueue(job_of("lost")).has_value());
  queue->set_paused(false).value();
  sleeper.join();  // Whether it or the next line gets it first, the sleeper has it in the end.
  CHECK(taken == 2);
}

TEST_CASE("an enqueue that waits for room goes on when there is some, and gives up at the end of its time") {
  QueueOptions options;
  options.depth.jobs = 1;
  auto queue = queue_of(options);
  REQUIRE(queue->enqueue(job_of("first")).has_value());
  const auto refused = queue->enqueue(job_of("second"), 1000);
  CHECK(refused.error().status == Status::queue_full);
  CHECK(refused.error().message.find("1 jobs of at most 1") != std::string::npos);
  std::thread taker([&] {
    ReserveRequest request;
    request.timeout_us = 5 * second_us;
    auto leases = queue->reserve(request);
    CHECK(leases.value().size() == 1);
  });
  CHECK(queue->enqueue(job_of("second"), 20 * second_us).has_value());
  taker.join();
}

TEST_CASE("drain waits for what runs, and hands nothing new out") {
  auto queue = queue_of();
  REQUIRE(queue->enqueue(job_of("a")).has_value());
  REQUIRE(queue->enqueue(job_of("b")).has_value());
  const auto lease = queue->reserve({}).value().at(0);
  CHECK(queue->drain(1000).value() == false);
  std::thread holder([&] { CHECK(queue->complete(lease.key).has_value()); });
  CHECK(queue->drain(20 * second_us).value());
  holder.join();
  CHECK(queue->reserve({}).value().empty());
  CHECK(queue->statistics().value().paused);
}

TEST_CASE("what hangs on a job comes with its lease, and is let go with the job") {
  std::atomic<int> alive{0};
  QueueOptions options;
  options.kept_finished = 10;
  auto queue = queue_of(options);
  for (int index = 0; index < 4; ++index) {
    auto job = job_of("");
    job.id = JobId{1, static_cast<std::uint64_t>(index) + 1};
    job.attachment = std::make_shared<Tag>(alive);
    REQUIRE(queue->enqueue(std::move(job)).has_value());
  }
  CHECK(alive == 4);
  {
    auto lease = queue->reserve_one({}).value();
    REQUIRE(lease.has_value());
    REQUIRE(lease->attachment != nullptr);
    REQUIRE(queue->complete(lease->key).has_value());
  }
  CHECK(alive == 3);  // It is over and can be read, but nothing hangs on it any more.
  CHECK_FALSE(queue->remove(JobId{1, 1}).has_value());
  CHECK(queue->remove(JobId{1, 2}).has_value());
  CHECK(alive == 2);
  CHECK_FALSE(queue->remove_any().has_value());  // Not closed yet.
  queue->close();
  CHECK(queue->remove_any().has_value());
  CHECK(queue->remove_any().has_value());
  CHECK_FALSE(queue->remove_any().has_value());
  CHECK(alive == 0);
}

TEST_CASE(
    "ten times the limit from eight threads: accepted and rejected make what was offered, and no limit is passed") {
  QueueOptions options;
  options.depth.jobs = 500;
  auto queue = queue_of(options);
  std::atomic<int> accepted{0};
  std::atomic<int> rejected{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int index = 0; index < 8; ++index) {
    threads.emplace_back([&, index] {
      for (int count = 0; count < 625; ++count) {
        const auto put = queue->enqueue(job_of("payload", static_cast<Priority>((index + count) % 3)));
        if (put) {
          ++accepted;
        } else {
          CHECK(put.error().status == Status::queue_full);
          ++rejected;
        }
        if (count % 8 == 0) {
          const auto statistics = queue->statistics().value();
          if (statistics.waiting[0] + statistics.waiting[1] + statistics.waiting[2] > 500) over = true;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(accepted + rejected == 5000);
  CHECK(accepted == 500);
  CHECK_FALSE(over);
  const auto totals = queue->statistics().value().totals;
  CHECK(totals.accepted == 500);
  CHECK(totals.rejected == 4500);
}

TEST_CASE("many threads: each job is done once, whatever is given back, extended or left to expire") {
  QueueOptions options;
  options.lease_us = 5'000;
  options.max_crashes = 1000;
  options.kept_finished = 0;
  auto queue = queue_of(options);
  constexpr int jobs = 2000;
  std::mutex mutex;
  std::multiset<std::string> done;  // Guarded by mutex.
  std::atomic<int> left{jobs};
  std::vector<std::thread> threads;
  for (int index = 0; index < 2; ++index) {
    threads.emplace_back([&, index] {
      for (int count = index; count < jobs; count += 2) {
        auto job = job_of(std::to_string(count), static_cast<Priority>(count % 3));
        job.user = std::to_string(count % 5);
        if (count % 7 == 0) job.delay_us = count;
        REQUIRE(queue->enqueue(std::move(job)).has_value());
      }
    });
  }
  for (int index = 0; index < 4; ++index) {
    threads.emplace_back([&, index] {
      ReserveRequest request;
      request.worker = "worker " + std::to_string(index);
      request.timeout_us = 1000;
      unsigned turn = static_cast<unsigned>(index);
      while (left > 0) {
        const auto leases = queue->reserve(request).value();
        for (const auto& lease : leases) {
          ++turn;
          if (turn % 11 == 0) continue;  // Left to expire.
          if (turn % 5 == 0) {
            (void)queue->release(lease.key);
            continue;
          }
          if (turn % 3 == 0) (void)queue->extend(lease.key, 50'000);
          if (queue->complete(lease.key)) {
            const std::lock_guard lock(mutex);
            done.insert(lease.payload);
            --left;
          }
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(done.size() == jobs);
  CHECK(std::set<std::string>(done.begin(), done.end()).size() == jobs);
  const auto statistics = queue->statistics().value();
  CHECK(statistics.totals.done == jobs);
  CHECK(statistics.running == 0);
  CHECK(statistics.users == 0);
}

TEST_CASE("events come to those who wait, in order, and what is no longer kept is counted") {
  QueueOptions options;
  options.kept_events = 4;
  auto queue = queue_of(options);
  std::vector<EventType> seen;
  std::thread watcher([&] {
    std::uint64_t after = 0;
    while (seen.size() < 3) {
      const auto page = queue->events(after, 10, 20 * second_us).value();
      CHECK(page.missed == 0);
      for (const auto& event : page.events) seen.push_back(event.type);
      after = page.next;
    }
  });
  REQUIRE(queue->enqueue(job_of("x")).has_value());
  const auto lease = queue->reserve({}).value().at(0);
  REQUIRE(queue->complete(lease.key).has_value());
  watcher.join();
  CHECK(seen == std::vector{EventType::accepted, EventType::started, EventType::done});
  for (int index = 0; index < 5; ++index) REQUIRE(queue->enqueue(job_of("x")).has_value());
  const auto page = queue->events(1, 10).value();
  CHECK(page.missed == 3);
  CHECK(page.events.size() == 4);
  CHECK(page.events.back().sequence == 8);
  CHECK(queue->events(page.next, 10).value().events.empty());
}

TEST_CASE("a hundred thousand users come and go, and nothing is left of them") {
  QueueOptions options;
  options.kept_finished = 0;
  options.kept_events = 0;
  options.lanes.user_start_rate = TokenBucketLimits{.tokens_per_period = 1, .period_us = 1, .burst = 1};
  auto queue = queue_of(options);
  for (int user = 0; user < 100'000; ++user) {
    auto job = job_of("");
    job.user = "user " + std::to_string(user);
    REQUIRE(queue->enqueue(std::move(job)).has_value());
    const auto leases = queue->reserve({}).value();
    REQUIRE(leases.size() == 1);
    REQUIRE(queue->complete(leases[0].key).has_value());
  }
  for (int turn = 0; turn < 1000 && queue->sweep().value(); ++turn) {
  }
  std::this_thread::sleep_for(std::chrono::microseconds(10));  // The last one's token has come back by then.
  CHECK(queue->sweep().value() == false);
  CHECK(queue->statistics().value().users == 0);
}
