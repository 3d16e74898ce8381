// What only the queue in Redis has: a server that fails, others that share it, keys that somebody else writes.
#include "queue/lease_keeper.hpp"

#include "../../support/child.hpp"
#include "proxy.hpp"
#include "subjects.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <functional>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

using namespace gf;
using namespace gf::queue;
using gf::test::RedisCluster;
using gf::test::RedisServer;
using gf::test::RedisSubject;

namespace {

constexpr std::int64_t ms = 1000;
constexpr std::int64_t second_us = 1'000'000;

std::int64_t now_us() { return redis::Connection::now_us(); }

std::unique_ptr<RedisQueue> open_queue(const std::string& url, const QueueOptions& options = {},
                                       const std::string& name = "q") {
  RedisQueueOptions wanted;
  wanted.url = url;
  wanted.name = name;
  wanted.queue = options;
  auto queue = RedisQueue::create(std::move(wanted));
  REQUIRE_MESSAGE(queue.has_value(), queue.error().message);
  return std::move(queue).value();
}

NewJob job_of(std::string payload) {
  NewJob job;
  job.payload = std::move(payload);
  job.retry = {3, 0, 0};
  return job;
}

std::uint64_t commands_of(redis::Client& client) {
  const auto info = client.call({"INFO", "stats"}).value().text;
  const auto at = info.find("total_commands_processed:");
  return std::stoull(info.substr(at + 25));
}

/// clock: how much its clock is off, such as "+3600"; empty: not at all.
pid_t start_worker(const std::string& url, const std::string& name, std::int64_t lease_us, std::int64_t work_us,
                   const std::string& clock = {}) {
  return test::start_child({GAMEFORGE_QUEUE_HOST, url, name, std::to_string(lease_us), std::to_string(work_us)},
                           [&clock] {
                             if (clock.empty()) return;
                             ::setenv("LD_PRELOAD", GAMEFORGE_FAKETIME, 1);
                             ::setenv("FAKETIME", clock.c_str(), 1);
                             ::setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
                           });
}

void end_process(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

/// Four workers, of which one after the other is killed and replaced, until all jobs are over.
void kill_workers(int jobs, int rounds, std::int64_t work_us) {
  RedisServer server;
  QueueOptions options;
  options.lease_us = 500 * ms;
  options.max_crashes = 1000;
  options.kept_finished = 1'000'000;
  auto queue = open_queue(server.url(), options);
  std::vector<NewJob> batch;
  for (int index = 0; index < jobs; ++index) {
    batch.push_back(job_of(std::to_string(index)));
    batch.back().user = std::to_string(index % 7);
    batch.back().retry.max_attempts = 1;  // Crashes cost none.
  }
  std::vector<JobId> ids;
  for (const auto& answer : queue->enqueue_many(std::move(batch))) ids.push_back(answer.value().id);
  std::vector<pid_t> workers;
  for (int index = 0; index < 4; ++index) workers.push_back(start_worker(server.url(), "q", options.lease_us, work_us));
  std::mt19937 random(1);
  for (int round = 0; round < rounds; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + random() % 40));
    auto& victim = workers[random() % workers.size()];
    end_process(victim);
    victim = start_worker(server.url(), "q", options.lease_us, work_us);
  }
  const auto deadline = now_us() + 300 * second_us;
  while (now_us() < deadline) {
    const auto statistics = queue->statistics().value();
    if (statistics.totals.done + statistics.dead == static_cast<std::uint64_t>(jobs)) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (const auto worker : workers) end_process(worker);
  const auto statistics = queue->statistics().value();
  CHECK(statistics.totals.done == static_cast<std::uint64_t>(jobs));
  CHECK(statistics.dead == 0);
  CHECK(statistics.running == 0);
  CHECK(statistics.totals.accepted == static_cast<std::uint64_t>(jobs));
  // The counters agree with the jobs' histories.
  std::uint64_t crashes = 0;
  std::uint64_t takes = 0;
  for (const auto& id : ids) {
    const auto record = queue->get(id).value();
    REQUIRE(record.state == JobState::done);
    REQUIRE(record.fencing_token == record.crashes + 1);
    crashes += record.crashes;
    takes += record.fencing_token;
  }
  CHECK(statistics.totals.recovered == crashes);
  CHECK(statistics.totals.taken == takes);
  MESSAGE("killed " << rounds << " workers; " << crashes << " jobs were recovered");
}

/// Keeps the warnings. Any thread.
class Warnings final : public LogSink {
 public:
  bool enabled(LogLevel level) const noexcept override { return level <= LogLevel::warning; }
  void write(LogLevel, std::string_view, std::string_view message) noexcept override {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(message);
  }
  std::size_t with(std::string_view text) const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::ranges::count_if(lines_, [&](const auto& line) { return line.find(text) != std::string::npos; }));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;  // Guarded by mutex_.
};

}  // namespace

TEST_CASE("an idle worker sleeps in the server, and starts a job at once") {
  RedisServer server;
  auto queue = open_queue(server.url());
  auto client = redis::Client::create(server.url()).value();
  std::mutex mutex;
  std::vector<std::int64_t> latencies;  // Guarded by mutex.
  std::atomic<int> started{0};
  std::thread worker([&] {
    ReserveRequest request;
    request.timeout_us = std::nullopt;
    for (;;) {
      const auto leases = queue->reserve(request);
      if (!leases) return;
      for (const auto& lease : leases.value()) {
        const std::lock_guard lock(mutex);
        latencies.push_back(now_us() - std::stoll(lease.payload));
        ++started;
        (void)queue->complete(lease.key);
      }
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto before = commands_of(*client);
  std::this_thread::sleep_for(std::chrono::milliseconds(2000));
  // Of the two seconds: at most one look and one wait, and our own INFO.
  CHECK(commands_of(*client) - before <= 4);
  constexpr int jobs = 100;
  for (int index = 0; index < jobs; ++index) {
    REQUIRE(queue->enqueue(job_of(std::to_string(now_us()))).has_value());
    while (started <= index) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // A worker that sleeps is interrupted by close() at once.
  const auto closing_us = now_us();
  queue->close();
  worker.join();
  CHECK(now_us() - closing_us < 200 * ms);
  std::ranges::sort(latencies);
  MESSAGE("from enqueue to start: median " << latencies[jobs / 2] << " us, p99 " << latencies[jobs * 99 / 100]
                                           << " us");
  CHECK(latencies[jobs / 2] < 20 * ms);  // 2 ms on a machine of its own: see the bench.
}

TEST_CASE("who sleeps gets up for delays and for the leases of workers that died") {
  RedisServer server;
  QueueOptions options;
  options.lease_us = 200 * ms;
  auto queue = open_queue(server.url(), options);
  REQUIRE(queue->enqueue(job_of("dies")).has_value());
  REQUIRE(queue->reserve({}).value().size() == 1);
  auto delayed = job_of("later");
  delayed.delay_us = 50 * ms;
  REQUIRE(queue->enqueue(delayed).has_value());
  ReserveRequest request;
  request.timeout_us = 20 * second_us;
  const auto begun_us = now_us();
  const auto first = queue->reserve(request).value();
  REQUIRE(first.size() == 1);
  CHECK(first[0].payload == "later");
  const auto second = queue->reserve(request).value();
  REQUIRE(second.size() == 1);
  CHECK(second[0].payload == "dies");
  CHECK(second[0].key.fencing_token == 2);
  CHECK(now_us() - begun_us < 5 * second_us);
}

TEST_CASE("workers that are killed lose nothing: every job is done once") { kill_workers(300, 12, 3000); }

TEST_CASE("a worker that is frozen past its lease writes nothing over the one that took its job") {
  RedisServer server;
  QueueOptions options;
  options.lease_us = 300 * ms;
  options.max_crashes = 1000;
  options.kept_finished = 1'000'000;
  auto queue = open_queue(server.url(), options);
  const auto id = queue->enqueue(job_of("x")).value().id;
  const auto wait_for = [&](const std::function<bool()>& condition) {
    const auto deadline = now_us() + 30 * second_us;
    while (!condition()) {
      REQUIRE(now_us() < deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  };
  const auto loser = start_worker(server.url(), "q", options.lease_us, 100 * ms);
  wait_for([&] { return queue->get(id).value().state == JobState::running; });
  REQUIRE(::kill(loser, SIGSTOP) == 0);
  std::vector<Lease> leases;
  ReserveRequest request;
  request.worker = "winner";
  request.lease_us = 60 * second_us;
  request.timeout_us = 30 * second_us;
  leases = queue->reserve(request).value();
  REQUIRE(leases.size() == 1);
  CHECK(leases[0].key.id == id);
  CHECK(leases[0].key.fencing_token == 2);
  // It wakes, ends its work and says so, which is refused while the winner still works.
  REQUIRE(::kill(loser, SIGCONT) == 0);
  wait_for([&] { return queue->statistics().value().totals.fenced_off == 1; });
  CHECK(queue->get(id).value().state == JobState::running);
  CHECK(queue->get(id).value().worker == "winner");
  CHECK(queue->complete(leases[0].key, {"the winner's", ""}).has_value());
  end_process(loser);
  CHECK(queue->get(id).value().result.reference == "the winner's");
  const auto totals = queue->statistics().value().totals;
  CHECK(totals.done == 1);
  CHECK(totals.recovered == 1);
}

TEST_CASE("a lease is kept while the server answers, and counts as lost in time when it hangs or others have it") {
  RedisServer server;
  QueueOptions options;
  options.max_crashes = 1000;
  auto queue = open_queue(server.url(), options);
  LeaseKeeper keeper(*queue);
  const auto take = [&](std::int64_t lease_us) {
    ReserveRequest request;
    request.lease_us = lease_us;
    request.timeout_us = 30 * second_us;
    auto leases = queue->reserve(request).value();
    REQUIRE(leases.size() == 1);
    return leases[0].key;
  };
  const auto id = queue->enqueue(job_of("x")).value().id;
  const auto key = take(second_us);
  REQUIRE(keeper.hold(key, second_us).value() == HoldState::held);
  // Three times its length, under other workers who would take it.
  for (const auto until_us = now_us() + 3 * second_us; now_us() < until_us;) {
    ReserveRequest request;
    request.timeout_us = 100 * ms;
    CHECK(queue->reserve(request).value().empty());
    CHECK(keeper.state(key).value() == HoldState::held);
  }
  SUBCASE("the server hangs") {
    server.freeze();
    const auto from_us = now_us();
    while (keeper.state(key).value() != HoldState::lost) {
      REQUIRE(now_us() < from_us + 20 * second_us);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const auto took_us = now_us() - from_us;
    server.thaw();
    // Told no later than the lease can last, which the heartbeats' own time-out (five seconds) has no part in.
    MESSAGE("told after " << took_us / ms << " ms of a lease of 1000");
    CHECK(took_us <= second_us + 500 * ms);
    // The server would have let nobody else have it before that; now somebody has, and only that one can end it.
    const auto other = take(60 * second_us);
    CHECK(other.id == id);
    CHECK(other.fencing_token > key.fencing_token);
    CHECK(queue->complete(key).error().status == Status::lease_lost);
    CHECK(queue->complete(other).has_value());
  }
  SUBCASE("another has it") {
    // An operator gives it back by hand.
    REQUIRE(queue->release(key).has_value());
    const auto other = take(60 * second_us);
    const auto from_us = now_us();
    while (keeper.state(key).value() != HoldState::lost) {
      REQUIRE(now_us() < from_us + 20 * second_us);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(queue->get(id).value().fencing_token == other.fencing_token);
    CHECK(queue->complete(other).has_value());
  }
  SUBCASE("it is cancelled") {
    CHECK(queue->cancel(id).value() == CancelOutcome::requested);
    const auto from_us = now_us();
    while (keeper.state(key).value() != HoldState::cancel_requested) {
      REQUIRE(now_us() < from_us + 20 * second_us);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(queue->fail(key, {Status::cancelled, "as asked", {}}).value().state == JobState::cancelled);
  }
}

TEST_CASE("workers whose clocks are an hour off do each job once, and nobody's lease ends early or late" *
          doctest::test_suite("clocks")) {
  // The time of day in a process whose clock is moved is what the test needs to be true.
  {
    int shown[2];
    REQUIRE(::pipe(shown) == 0);
    const auto pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::dup2(shown[1], STDOUT_FILENO);
      ::setenv("LD_PRELOAD", GAMEFORGE_FAKETIME, 1);
      ::setenv("FAKETIME", "+3600", 1);
      ::execlp("date", "date", "+%s", nullptr);
      ::_exit(127);
    }
    ::close(shown[1]);
    std::array<char, 32> text{};
    REQUIRE(::read(shown[0], text.data(), text.size() - 1) > 0);
    ::close(shown[0]);
    ::waitpid(pid, nullptr, 0);
    REQUIRE(std::atoll(text.data()) - system_clock().unix_us() / second_us > 3500);
  }
  RedisServer server;
  QueueOptions options;
  options.lease_us = 2 * second_us;
  options.kept_finished = 10'000;
  options.max_crashes = 10;
  auto queue = open_queue(server.url(), options);
  constexpr int jobs = 400;
  std::vector<JobId> ids;
  for (int index = 0; index < jobs; ++index) {
    auto job = job_of("x");
    job.delay_us = index % 4 == 0 ? 300 * ms : 0;
    ids.push_back(queue->enqueue(std::move(job)).value().id);
  }
  std::vector<pid_t> workers;
  for (const char* clock : {"+3600", "-3600", "+86400", "-0.5"}) {
    workers.push_back(start_worker(server.url(), "q", options.lease_us, 2 * ms, clock));
  }
  // One of them dies with jobs in hand, and its leases run their time by the server's clock.
  std::this_thread::sleep_for(std::chrono::milliseconds(250));
  end_process(workers.front());
  const auto deadline = now_us() + 120 * second_us;
  while (now_us() < deadline && queue->statistics().value().totals.done < jobs) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (std::size_t index = 1; index < workers.size(); ++index) end_process(workers[index]);
  const auto totals = queue->statistics().value().totals;
  CHECK(totals.done == jobs);
  CHECK(totals.expired == 0);
  CHECK(totals.recovered <= 2);  // What the dead one had, and no lease of the living.
  for (const auto& id : ids) {
    const auto record = queue->get(id).value();
    CHECK(record.state == JobState::done);
    CHECK(std::abs(record.finished_us - system_clock().unix_us()) < 600 * second_us);
  }
}

TEST_CASE("each call with a lease that is over leaves a line in the log") {
  RedisServer server;
  Warnings log;
  RedisQueueOptions wanted;
  wanted.url = server.url();
  wanted.log = &log;
  wanted.test_clock = "tonumber(redis.call('HGET', KEYS[1], 'clock') or '1700000000000000')";
  auto queue = RedisQueue::create(std::move(wanted)).value();
  auto client = redis::Client::create(server.url()).value();
  const auto id = queue->enqueue(job_of("x")).value().id;
  const auto lease = queue->reserve({}).value().at(0);
  CHECK(log.with("is over") == 0);
  REQUIRE(client->call({"HSET", queue->keys()[0], "clock", "1700000100000000"}).has_value());
  const auto line = fmt::format("lease 1 of job {} is over", to_text(id));
  CHECK(queue->extend(lease.key).error().status == Status::lease_lost);
  CHECK(log.with(line) == 1);
  CHECK(queue->report_progress(lease.key, {1, 2, ""}).error().status == Status::lease_lost);
  CHECK(queue->complete(lease.key).error().status == Status::lease_lost);
  CHECK(queue->fail(lease.key, {Status::internal, "", FailureAction::by_rules}).error().status == Status::lease_lost);
  CHECK(queue->release(lease.key).error().status == Status::lease_lost);
  CHECK(log.with(line) == 5);
}

TEST_CASE("a lease that ran out is found among twenty thousand that did not, without a look at them") {
  RedisServer server;
  RedisQueueOptions wanted;
  wanted.url = server.url();
  wanted.test_clock = "tonumber(redis.call('HGET', KEYS[1], 'clock') or '1700000000000000')";
  auto queue = RedisQueue::create(std::move(wanted)).value();
  auto client = redis::Client::create(server.url()).value();
  constexpr std::size_t healthy = 20'000;
  ReserveRequest request;
  request.count = 500;
  request.lease_us = 3600 * second_us;
  for (std::size_t jobs = 0; jobs < healthy; jobs += 500) {
    for (const auto& answer : queue->enqueue_many(std::vector<NewJob>(500, job_of("x")))) REQUIRE(answer.has_value());
    REQUIRE(queue->reserve(request).value().size() == 500);
  }
  const auto id = queue->enqueue(job_of("lost")).value().id;
  request.lease_us = second_us;
  REQUIRE(queue->reserve(request).value().size() == 1);
  REQUIRE(client->call({"HSET", queue->keys()[0], "clock", "1700000001000001"}).has_value());
  REQUIRE(client->call({"CONFIG", "RESETSTAT"}).has_value());
  const auto leases = queue->reserve(request).value();
  REQUIRE(leases.size() == 1);
  CHECK(leases[0].key.id == id);
  CHECK(leases[0].key.fencing_token == 2);
  CHECK(queue->statistics().value().running == healthy + 1);
  // A page of a hundred active jobs is looked at for orphans; the rest is a handful.
  CHECK(commands_of(*client) < 300);
}

TEST_CASE("a job that kills its worker ends in the dead letters, and names it") {
  RedisServer server;
  QueueOptions options;
  options.lease_us = 100 * ms;
  options.max_crashes = 3;
  auto queue = open_queue(server.url(), options);
  const auto id = queue->enqueue(job_of("exit")).value().id;
  for (int crash = 0; crash < 3; ++crash) {
    const auto worker = start_worker(server.url(), "q", options.lease_us, 0);
    int state = 0;
    ::waitpid(worker, &state, 0);
    CHECK(WEXITSTATUS(state) == 9);
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
  }
  REQUIRE(queue->sweep().has_value());
  const auto record = queue->get(id).value();
  CHECK(record.state == JobState::dead);
  CHECK(record.end_message.starts_with("worker died"));
  REQUIRE(record.history.size() == 3);
  CHECK(record.history[2].worker.starts_with("process "));
}

TEST_CASE("a server that is killed and comes back has every job that it accepted, and workers go on by themselves") {
  RedisServer::Options wanted;
  wanted.appendfsync_always = true;
  RedisServer server(wanted);
  QueueOptions options;
  options.lease_us = 300 * ms;
  options.max_crashes = 100;
  options.kept_finished = 100'000;
  auto queue = open_queue(server.url(), options);
  std::atomic<bool> over{false};
  std::mutex mutex;
  std::vector<JobId> accepted;  // Guarded by mutex, as the next.
  std::set<JobId> completed;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (int index = 0; !over && index < 100'000; ++index) {
      const auto answer = queue->enqueue(job_of(std::to_string(index)));
      if (!answer) continue;
      const std::lock_guard lock(mutex);
      accepted.push_back(answer.value().id);
    }
  });
  for (int index = 0; index < 2; ++index) {
    threads.emplace_back([&] {
      ReserveRequest request;
      request.count = 10;
      request.timeout_us = 50 * ms;
      while (!over) {
        const auto leases = queue->reserve(request);
        if (!leases) continue;
        for (const auto& lease : leases.value()) {
          if (!queue->complete(lease.key)) continue;
          const std::lock_guard lock(mutex);
          CHECK(completed.insert(lease.key.id).second);  // No completion is accepted twice.
        }
      }
    });
  }
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    server.kill();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    server.start();
    std::size_t before = 0;
    {
      const std::lock_guard lock(mutex);
      before = completed.size();
    }
    // Jobs flow within five seconds of the repair.
    const auto deadline = now_us() + 5 * second_us;
    bool flows = false;
    while (!flows && now_us() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      const std::lock_guard lock(mutex);
      flows = completed.size() > before;
    }
    CHECK(flows);
  }
  over = true;
  for (auto& thread : threads) thread.join();
  // What is left, by hand.
  ReserveRequest request;
  request.count = 1000;
  request.timeout_us = 500 * ms;
  for (;;) {
    const auto leases = queue->reserve(request).value();
    if (leases.empty()) break;
    for (const auto& lease : leases) CHECK(queue->complete(lease.key).has_value());
  }
  for (const auto& id : accepted) {
    const auto record = queue->get(id);
    REQUIRE(record.has_value());
    REQUIRE(record.value().state == JobState::done);
  }
  const auto s = queue->statistics().value();
  CHECK(s.totals.accepted == s.totals.done);
  MESSAGE(accepted.size() << " jobs were accepted around three kills of the server");
}

TEST_CASE("a connection that is cut in the middle of a command loses and doubles nothing") {
  RedisServer server;
  gf::test::Proxy proxy(server.folder() + "/proxy", server.socket_path());
  auto direct = open_queue(server.url());
  QueueOptions options;
  auto queue = open_queue("unix://" + proxy.path(), options);
  auto rounds = 0;
  // Every place of what a call sends and gets, with steps that grow: a call is some 700 bytes up and 80 down.
  for (const bool up : {true, false}) {
    for (std::int64_t after = 0; after < (up ? 900 : 120); after += up ? 61 : 9) {
      CAPTURE(up);
      CAPTURE(after);
      const auto cut = [&] { proxy.cut_after(up ? after : -1, up ? -1 : after); };
      auto job = job_of("payload");
      job.idempotency.key = fmt::format("key {} {}", up, after);
      cut();
      const auto put = queue->enqueue(job);
      REQUIRE_MESSAGE(put.has_value(), put.error().message);
      CHECK_FALSE(put.value().duplicate);
      CHECK(queue->enqueue(job).value().id == put.value().id);
      proxy.cut_after(-1, -1);
      const auto leases = queue->reserve({}).value();
      REQUIRE(leases.size() == 1);
      cut();
      CHECK(queue->extend(leases[0].key).has_value());
      cut();
      if (rounds % 2 == 0) {
        CHECK(queue->complete(leases[0].key).has_value());
      } else {
        CHECK(queue->fail(leases[0].key, {Status::internal, "", FailureAction::dead_letter}).value().state ==
              JobState::dead);
      }
      proxy.cut_after(-1, -1);
      ++rounds;
    }
  }
  const auto s = direct->statistics().value();
  CHECK(s.totals.accepted == static_cast<std::uint64_t>(rounds));
  CHECK(s.totals.done + s.dead == static_cast<std::uint64_t>(rounds));
  CHECK(s.totals.fenced_off == 0);
  CHECK(proxy.cuts() > static_cast<std::uint64_t>(rounds));
}

TEST_CASE("scripts that the server forgot are sent again") {
  RedisServer server;
  auto queue = open_queue(server.url());
  auto client = redis::Client::create(server.url()).value();
  for (int round = 0; round < 3; ++round) {
    REQUIRE(client->call({"SCRIPT", "FLUSH"}).has_value());
    REQUIRE(queue->enqueue(job_of("x")).has_value());
    REQUIRE(client->call({"SCRIPT", "FLUSH"}).has_value());
    const auto leases = queue->reserve({}).value();
    REQUIRE(leases.size() == 1);
    REQUIRE(queue->complete(leases[0].key).has_value());
  }
}

TEST_CASE("a replica, a server that loads, and a password have errors of their own, and what ends them is noticed") {
  RedisServer server;
  auto queue = open_queue(server.url());
  auto client = redis::Client::create(server.url()).value();
  REQUIRE(client->call({"REPLICAOF", "127.0.0.1", "1"}).has_value());
  const auto replica = queue->enqueue(job_of("x"));
  CHECK(replica.error().status == Status::redis_error);
  CHECK(replica.error().message.find("read-only replica") != std::string::npos);
  REQUIRE(client->call({"REPLICAOF", "NO", "ONE"}).has_value());
  CHECK(queue->enqueue(job_of("x")).has_value());

  REQUIRE(client->call({"CONFIG", "SET", "requirepass", "secret"}).has_value());
  RedisQueueOptions wanted;
  wanted.url = server.url();
  CHECK(RedisQueue::create(wanted).error().status == Status::unauthorised);
  wanted.url = "unix://:wrong@" + server.socket_path();
  CHECK(RedisQueue::create(wanted).error().status == Status::unauthorised);
  wanted.url = "unix://:secret@" + server.socket_path() + "?db=2";
  auto other = RedisQueue::create(wanted);
  REQUIRE(other.has_value());
  CHECK(other.value()->enqueue(job_of("x")).has_value());
  CHECK(other.value()->statistics().value().totals.accepted == 1);
  wanted.strict = true;  // Nothing is kept on disk here.
  CHECK(RedisQueue::create(wanted).error().status == Status::unsupported);
}

TEST_CASE("a server that may evict keys is warned of, and one that is too old is refused") {
  RedisServer::Options evicting;
  evicting.further = {"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"};
  RedisServer server(evicting);
  Warnings log;
  RedisQueueOptions wanted;
  wanted.url = server.url();
  wanted.log = &log;
  CHECK(RedisQueue::create(wanted).has_value());
  CHECK(log.with("evicts keys when memory is short (maxmemory-policy allkeys-lru)") == 1);
  wanted.strict = true;
  const auto refused = RedisQueue::create(wanted);
  REQUIRE(!refused.has_value());
  CHECK(refused.error().status == Status::unsupported);
  CHECK(refused.error().message.find("allkeys-lru") != std::string::npos);

  // The real server's answers, but for the number of its version.
  test::Proxy proxy(server.folder() + "/old", server.socket_path());
  const auto version = redis::Client::create(server.url()).value()->server_info().value().version;
  REQUIRE(version.size() > 2);
  proxy.replace("redis_version:" + version.substr(0, 1), "redis_version:5");
  wanted.strict = false;
  wanted.url = "unix://" + proxy.path();
  const auto old = RedisQueue::create(wanted);
  REQUIRE(!old.has_value());
  CHECK(old.error().status == Status::unsupported);
  CHECK(old.error().message.find("6.2 or later is needed") != std::string::npos);
}

TEST_CASE("a server without memory refuses new jobs, and lets what is in be ended") {
  RedisServer::Options wanted;
  wanted.further = {"--maxmemory", "6mb"};
  RedisServer server(wanted);
  QueueOptions options;
  options.kept_finished = 0;
  auto queue = open_queue(server.url(), options);
  std::uint64_t accepted = 0;
  for (; accepted < 10'000; ++accepted) {
    const auto answer = queue->enqueue(job_of(std::string(10'000, 'x')));
    if (answer) continue;
    CHECK(answer.error().status == Status::queue_full);
    break;
  }
  REQUIRE(accepted > 10);
  REQUIRE(accepted < 10'000);
  ReserveRequest request;
  for (std::uint64_t count = 0; count < accepted; ++count) {
    const auto leases = queue->reserve(request);
    REQUIRE(leases.has_value());
    REQUIRE(leases.value().size() == 1);
    REQUIRE(queue->complete(leases.value()[0].key).has_value());
  }
  CHECK(queue->enqueue(job_of("x")).has_value());
  CHECK(queue->statistics().value().totals.done == accepted);
}

TEST_CASE("a job that is active without a lease comes back") {
  RedisServer server;
  auto queue = open_queue(server.url());
  auto client = redis::Client::create(server.url()).value();
  const auto id = queue->enqueue(job_of("x")).value().id;
  REQUIRE(queue->reserve({}).value().size() == 1);
  REQUIRE(
      client->call({"ZREM", queue->keys()[static_cast<std::size_t>(RedisKey::leases)], to_text(id)}).value().integer ==
      1);
  ReserveRequest request;
  request.timeout_us = 200 * ms;
  const auto deadline = now_us() + 10 * second_us;
  std::vector<Lease> leases;
  while (leases.empty() && now_us() < deadline) leases = queue->reserve(request).value();
  REQUIRE(leases.size() == 1);
  CHECK(leases[0].key.id == id);
  CHECK(leases[0].key.fencing_token == 2);
}

TEST_CASE("foreign and half-written keys are an error or are passed over, and the queue goes on") {
  RedisServer server;
  auto client = redis::Client::create(server.url()).value();
  const auto keys = redis_keys("gameforge", "q");
  const auto key = [&](RedisKey which) { return keys[static_cast<std::size_t>(which)]; };
  RedisQueueOptions wanted;
  wanted.url = server.url();
  wanted.name = "q";
  REQUIRE(client->call({"SET", key(RedisKey::meta), "somebody's"}).has_value());
  CHECK(RedisQueue::create(wanted).error().status == Status::redis_error);
  REQUIRE(client->call({"DEL", key(RedisKey::meta)}).has_value());
  REQUIRE(client->call({"HSET", key(RedisKey::meta), "other", "1"}).has_value());
  CHECK(RedisQueue::create(wanted).error().status == Status::wrong_state);
  REQUIRE(client->call({"HSET", key(RedisKey::meta), "schema", "2"}).has_value());
  CHECK(RedisQueue::create(wanted).error().status == Status::schema_too_new);
  REQUIRE(client->call({"FLUSHALL"}).has_value());

  auto queue = open_queue(server.url());
  const auto broken = queue->enqueue(job_of("broken")).value().id;
  const auto gone = queue->enqueue(job_of("gone")).value().id;
  const auto fine = queue->enqueue(job_of("fine")).value().id;
  REQUIRE(client->call({"HSET", key(RedisKey::job), to_text(broken), "\x93garbage"}).has_value());
  REQUIRE(client->call({"HDEL", key(RedisKey::job), to_text(gone)}).has_value());
  REQUIRE(client->call({"ZADD", key(RedisKey::leases), "1", "not an id"}).has_value());
  REQUIRE(client->call({"ZADD", key(RedisKey::delayed), "1", to_text(gone)}).has_value());
  const auto leases = queue->reserve({}).value();
  REQUIRE(leases.size() == 1);
  CHECK(leases[0].key.id == fine);
  CHECK(queue->get(broken).error().status == Status::not_found);
  CHECK(queue->complete(leases[0].key).has_value());
  // A key of another type in the way of every script.
  REQUIRE(client->call({"DEL", key(RedisKey::fifo)}).has_value());
  REQUIRE(client->call({"SET", key(RedisKey::fifo), "x"}).has_value());
  CHECK(queue->enqueue(job_of("x")).error().status == Status::redis_error);
  REQUIRE(client->call({"DEL", key(RedisKey::fifo)}).has_value());
  CHECK(queue->enqueue(job_of("x")).has_value());
}

TEST_CASE("after thousands of jobs of every fate nothing is left but counters and events") {
  RedisServer server;
  QueueOptions options;
  options.kept_finished = 0;
  options.kept_events = 100;
  auto queue = open_queue(server.url(), options);
  auto client = redis::Client::create(server.url()).value();
  const auto play = [&](int jobs) {
    std::vector<NewJob> batch;
    for (int index = 0; index < jobs; ++index) {
      auto job = job_of(std::string(100, 'x'));
      job.user = std::to_string(index % 50);
      if (index % 5 == 0) job.idempotency = {fmt::format("k{}", index), KeyScope::until_finished, 1, OnDuplicate::join};
      if (index % 7 == 0) job.delay_us = 1;
      if (index % 11 == 0) job.deadline_us = 60 * second_us;
      batch.push_back(std::move(job));
    }
    std::vector<JobId> ids;
    for (const auto& answer : queue->enqueue_many(std::move(batch))) ids.push_back(answer.value().id);
    for (std::size_t index = 0; index < ids.size(); index += 13) REQUIRE(queue->cancel(ids[index]).has_value());
    ReserveRequest request;
    request.count = 100;
    for (int turn = 0;;) {
      const auto leases = queue->reserve(request).value();
      if (leases.empty()) break;
      for (const auto& lease : leases) {
        switch (++turn % 4) {
          case 0:
            REQUIRE(queue->fail(lease.key, {Status::internal, "", FailureAction::by_rules}).has_value());
            break;
          case 1:
            REQUIRE(queue->release(lease.key).has_value());
            break;
          default:
            REQUIRE(queue->complete(lease.key).has_value());
        }
      }
    }
    while (!queue->purge({.state = JobState::dead}).value().cursor.empty()) {
    }
    REQUIRE(client->call({"DEL", queue->keys()[static_cast<std::size_t>(RedisKey::wake)]}).has_value());
  };
  play(200);
  const auto keys = client->call({"DBSIZE"}).value().integer;
  play(3000);
  CHECK(client->call({"DBSIZE"}).value().integer == keys);
  CHECK(keys == 2);  // meta, events
  const auto s = queue->statistics().value();
  CHECK(s.totals.accepted == s.totals.done + s.totals.cancelled + s.totals.removed);
  CHECK(s.payload_bytes == 0);
  CHECK(s.dead_bytes == 0);
}

TEST_CASE("a server that is down costs next to nothing, and calls end by their time") {
  RedisServer server;
  RedisQueueOptions wanted;
  wanted.url = server.url();
  wanted.client.command_timeout_us = 1500 * ms;
  auto queue = RedisQueue::create(wanted).value();
  server.kill();
  const auto begun_us = now_us();
  timespec before{};
  timespec after{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  CHECK(queue->enqueue(job_of("x")).error().status == Status::network_error);
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const auto cpu_us = (after.tv_sec - before.tv_sec) * 1'000'000 + (after.tv_nsec - before.tv_nsec) / 1000;
  CHECK(now_us() - begun_us < 3 * second_us);
  CHECK(cpu_us < 30 * ms);
  server.start();
  CHECK(queue->enqueue(job_of("x")).has_value());
  // One that answers nothing: the call ends, and the next one after its return is answered.
  server.freeze();
  CHECK(queue->enqueue(job_of("y")).error().status == Status::timed_out);
  server.thaw();
  CHECK(queue->enqueue(job_of("z")).has_value());
}

TEST_CASE("in a cluster of three nodes redirects are followed, from whichever node is asked") {
  RedisCluster cluster;
  std::set<std::size_t> slots;
  for (int index = 0; index < 6; ++index) {
    const auto name = fmt::format("queue {}", index);
    auto queue = open_queue(cluster.node(static_cast<std::size_t>(index) % RedisCluster::size).url(), {}, name);
    const auto slot = cluster.client(0).call({"CLUSTER", "KEYSLOT", queue->keys()[0]}).value().integer;
    for (const auto& key : queue->keys())
      CHECK(cluster.client(0).call({"CLUSTER", "KEYSLOT", key}).value().integer == slot);
    slots.insert(RedisCluster::owner_of(slot));
    for (int job = 0; job < 20; ++job) REQUIRE(queue->enqueue(job_of("x")).has_value());
    ReserveRequest request;
    request.timeout_us = 5 * second_us;
    for (int job = 0; job < 20; ++job) {
      const auto leases = queue->reserve(request).value();
      REQUIRE(leases.size() == 1);
      REQUIRE(queue->complete(leases[0].key).has_value());
    }
    CHECK(queue->statistics().value().totals.done == 20);
  }
  CHECK(slots.size() > 1);  // Otherwise nothing was redirected.
  // A slot that moves while the queue is used: ASK, then MOVED.
  auto queue = open_queue(cluster.node(0).url(), {}, "moves");
  for (int job = 0; job < 5; ++job) REQUIRE(queue->enqueue(job_of("x")).has_value());
  const auto slot = cluster.client(0).call({"CLUSTER", "KEYSLOT", queue->keys()[0]}).value().integer;
  const auto from = RedisCluster::owner_of(slot);
  const auto to = (from + 1) % RedisCluster::size;
  const auto id_of = [&](std::size_t node) { return cluster.client(node).call({"CLUSTER", "MYID"}).value().text; };
  const auto text = std::to_string(slot);
  REQUIRE(cluster.client(to).call({"CLUSTER", "SETSLOT", text, "IMPORTING", id_of(from)}).has_value());
  REQUIRE(cluster.client(from).call({"CLUSTER", "SETSLOT", text, "MIGRATING", id_of(to)}).has_value());
  const auto keys = cluster.client(from).call({"CLUSTER", "GETKEYSINSLOT", text, "100"}).value();
  redis::Command migrate = {"MIGRATE", "127.0.0.1", std::to_string(cluster.node(to).port()), "", "0", "5000", "KEYS"};
  for (const auto& key : keys.items) migrate.push_back(key.text);
  REQUIRE(cluster.client(from).call(migrate).has_value());
  // Keys that are not there yet could still be on their way, so the new node answers TRYAGAIN until the slot is its
  // own.
  std::thread finish([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    CHECK(cluster.client(to).call({"CLUSTER", "SETSLOT", text, "NODE", id_of(to)}).has_value());
    CHECK(cluster.client(from).call({"CLUSTER", "SETSLOT", text, "NODE", id_of(to)}).has_value());
  });
  const auto asked = queue->reserve({});
  finish.join();
  REQUIRE_MESSAGE(asked.has_value(), asked.error().message);
  CHECK(asked.value().size() == 1);
  for (int job = 0; job < 4; ++job) CHECK(queue->reserve({}).value().size() == 1);
}

TEST_SUITE("chaos") {
  TEST_CASE("two hundred kills among ten thousand jobs") { kill_workers(10'000, 200, 1000); }
}
