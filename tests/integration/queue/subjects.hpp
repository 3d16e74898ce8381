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

/// `Place` gives the URL of a server that all cases share, and empties it.
template <class Place>
class BasicRedisSubject {
 public:
  explicit BasicRedisSubject(const queue::QueueOptions& options = {}) {
    static int count = 0;
    queue::RedisQueueOptions wanted;
    wanted.url = Place::url();
    wanted.name = "conformance " + std::to_string(++count);
    wanted.queue = options;
    wanted.test_clock = "tonumber(redis.call('HGET', KEYS[1], 'clock') or '1700000000000000')";
    client_ = redis::Client::create(wanted.url).value();
    auto created = queue::RedisQueue::create(std::move(wanted));
    REQUIRE_MESSAGE(created.has_value(), created.error().message);
    queue_ = std::move(created).value();
  }
  ~BasicRedisSubject() { Place::empty(); }
  queue::Queue& queue() { return *queue_; }
  queue::RedisQueue& redis_queue() { return *queue_; }
  redis::Client& client() { return *client_; }
  void advance(std::int64_t us) {
    now_us_ += us;
    REQUIRE(client_->call({"HSET", queue_->keys()[0], "clock", std::to_string(now_us_)}).has_value());
  }
  std::int64_t now_us() const { return now_us_; }

 private:
  std::int64_t now_us_ = first_us;
  std::unique_ptr<queue::RedisQueue> queue_;
  std::unique_ptr<redis::Client> client_;
};

struct OneServer {
  /// Ended with the process.
  static RedisServer& server() {
    static RedisServer server;
    return server;
  }
  static std::string url() { return server().url(); }
  static void empty() { (void)redis::Client::create(url()).value()->call({"FLUSHALL"}); }
};

struct ThreeNodes {
  static RedisCluster& cluster() {
    static RedisCluster cluster;
    return cluster;
  }
  /// Another node for every queue, which mostly has to send it on.
  static std::string url() {
    static std::size_t next = 0;
    return cluster().node(next++ % RedisCluster::size).url();
  }
  static void empty() {
    for (std::size_t at = 0; at < RedisCluster::size; ++at) (void)cluster().client(at).call({"FLUSHALL"});
  }
};

using RedisSubject = BasicRedisSubject<OneServer>;
using ClusterSubject = BasicRedisSubject<ThreeNodes>;

}  // namespace gf::test
