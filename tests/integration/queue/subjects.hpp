// The queues, as the conformance tests see them: with a clock that the test moves.
#pragma once

#include "../../support/files.hpp"

#include "queue/memory_queue.hpp"
#include "queue/redis_queue.hpp"
#include "redis_server.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace gf::test {

/// Any time in the years that the scripts' scores are made for.
inline constexpr std::int64_t first_us = 1'700'000'000'000'000;

class TestClock final : public Clock {
 public:
  std::int64_t now_us() const noexcept override { return now.load(); }
  std::int64_t unix_us() const noexcept override { return now.load(); }
  std::atomic<std::int64_t> now{first_us};
};

class MemorySubject {
 public:
  explicit MemorySubject(const queue::QueueOptions& options = {}) {
    queue::MemoryQueueOptions wanted;
    wanted.queue = options;
    wanted.clock = &clock_;
    wanted.seed = 1;
    queue_ = queue::MemoryQueue::create(std::move(wanted)).value();
  }
  queue::Queue& queue() { return *queue_; }
  void advance(std::int64_t us) { clock_.now += us; }
  std::int64_t now_us() const { return clock_.now; }

 private:
  TestClock clock_;
  std::unique_ptr<queue::MemoryQueue> queue_;
};

/// The in-process queue with a journal, which can be closed and opened again.
class JournalSubject {
 public:
  explicit JournalSubject(const queue::QueueOptions& options = {}) : options_(options) { open(); }
  queue::Queue& queue() { return *queue_; }
  void advance(std::int64_t us) { clock_.now += us; }
  std::int64_t now_us() const { return clock_.now; }
  void reopen() {
    queue_.reset();
    open();
  }

 private:
  void open() {
    queue::MemoryQueueOptions wanted;
    wanted.queue = options_;
    wanted.clock = &clock_;
    wanted.seed = 1;
    wanted.journal = queue::JournalOptions{folder_ / "journal", queue::Durability::system, {}};
    auto opened = queue::MemoryQueue::create(std::move(wanted));
    REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
    queue_ = std::move(opened).value();
  }

  TemporaryFolder folder_;
  queue::QueueOptions options_;
  TestClock clock_;
  std::unique_ptr<queue::MemoryQueue> queue_;
};

class RedisSubject {
 public:
  explicit RedisSubject(const queue::QueueOptions& options = {}) {
    static int count = 0;
    queue::RedisQueueOptions wanted;
    wanted.url = server().url();
    wanted.name = "conformance " + std::to_string(++count);
    wanted.queue = options;
    wanted.test_clock = "tonumber(redis.call('HGET', KEYS[1], 'clock') or '1700000000000000')";
    auto created = queue::RedisQueue::create(std::move(wanted));
    REQUIRE_MESSAGE(created.has_value(), created.error().message);
    queue_ = std::move(created).value();
    client_ = redis::Client::create(server().url()).value();
  }
  ~RedisSubject() { (void)client_->call({"FLUSHALL"}); }
  queue::Queue& queue() { return *queue_; }
  queue::RedisQueue& redis_queue() { return *queue_; }
  redis::Client& client() { return *client_; }
  void advance(std::int64_t us) {
    now_us_ += us;
    REQUIRE(client_->call({"HSET", queue_->keys()[0], "clock", std::to_string(now_us_)}).has_value());
  }
  std::int64_t now_us() const { return now_us_; }

  /// One for all cases, ended with the process.
  static RedisServer& server() {
    static RedisServer server;
    return server;
  }

 private:
  std::int64_t now_us_ = first_us;
  std::unique_ptr<queue::RedisQueue> queue_;
  std::unique_ptr<redis::Client> client_;
};

}  // namespace gf::test
