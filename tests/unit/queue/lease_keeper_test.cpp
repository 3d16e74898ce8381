// On the in-process queue, and on one whose heartbeats fail when the test says so. With servers that hang and other
// workers: tests/integration/queue.
#include "queue/lease_keeper.hpp"

#include "base/clock.hpp"
#include "queue/memory_queue.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using gf::Error;
using gf::Result;
using gf::Status;
using namespace gf::queue;

namespace {

constexpr std::int64_t ms = 1000;

/// A queue whose extend() can be made to fail, or to hang; all else is the one behind it.
class Stubborn final : public Queue {
 public:
  Stubborn() {
    MemoryQueueOptions options;
    options.queue.lease_us = 60'000 * ms;
    inner_ = MemoryQueue::create(std::move(options)).value();
  }

  Lease take(std::int64_t lease_us) {
    REQUIRE(inner_->enqueue(NewJob{}).has_value());
    ReserveRequest request;
    request.lease_us = lease_us;
    auto leases = inner_->reserve(request).value();
    REQUIRE(leases.size() == 1);
    return std::move(leases[0]);
  }

  Result<Heartbeat> extend(const LeaseKey& key, std::int64_t lease_us) override {
    ++extends;
    while (hangs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (fails) return Error{Status::network_error, "the wire is cut", {}};
    return inner_->extend(key, lease_us);
  }

  Result<Enqueued> enqueue(NewJob job, std::int64_t timeout_us) override {
    return inner_->enqueue(std::move(job), timeout_us);
  }
  std::vector<Result<Enqueued>> enqueue_many(std::vector<NewJob> jobs) override {
    return inner_->enqueue_many(std::move(jobs));
  }
  Result<std::vector<Lease>> reserve(const ReserveRequest& request) override { return inner_->reserve(request); }
  Result<void> report_progress(const LeaseKey& key, const Progress& progress) override {
    return inner_->report_progress(key, progress);
  }
  Result<void> complete(const LeaseKey& key, JobResult result) override {
    return inner_->complete(key, std::move(result));
  }
  std::vector<Result<void>> complete_many(std::vector<Completion> completions) override {
    return inner_->complete_many(std::move(completions));
  }
  Result<FailOutcome> fail(const LeaseKey& key, const Failure& failure) override { return inner_->fail(key, failure); }
  Result<FailOutcome> release(const LeaseKey& key, std::int64_t delay_us) override {
    return inner_->release(key, delay_us);
  }
  Result<CancelOutcome> cancel(const gf::JobId& id) override { return inner_->cancel(id); }
  Result<JobRecord> get(const gf::JobId& id) override { return inner_->get(id); }
  Result<JobPage> list(const JobFilter& filter, const std::string& cursor, std::uint32_t limit) override {
    return inner_->list(filter, cursor, limit);
  }
  Result<BulkOutcome> purge(const JobFilter& filter, const std::string& cursor) override {
    return inner_->purge(filter, cursor);
  }
  Result<void> requeue(const gf::JobId& id) override { return inner_->requeue(id); }
  Result<BulkOutcome> requeue_many(const JobFilter& filter, const std::string& cursor) override {
    return inner_->requeue_many(filter, cursor);
  }
  Result<void> set_paused(bool paused) override { return inner_->set_paused(paused); }
  Result<bool> drain(std::int64_t timeout_us) override { return inner_->drain(timeout_us); }
  Result<Statistics> statistics() override { return inner_->statistics(); }
  Result<UserStatistics> user_statistics(const std::string& user) override { return inner_->user_statistics(user); }
  Result<EventPage> events(std::uint64_t after, std::uint32_t limit, std::int64_t timeout_us) override {
    return inner_->events(after, limit, timeout_us);
  }
  Result<bool> sweep() override { return inner_->sweep(); }
  Result<void> configure(const QueueOptions& options) override { return inner_->configure(options); }
  void close() override { inner_->close(); }

  std::atomic<int> extends{0};
  std::atomic<bool> fails{false};
  std::atomic<bool> hangs{false};

 private:
  std::unique_ptr<MemoryQueue> inner_;
};

void sleep_us(std::int64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

/// Until it is so, at most half a minute.
bool comes(const std::function<bool()>& condition) {
  const auto deadline_us = gf::system_clock().now_us() + 30'000 * ms;
  while (!condition()) {
    if (gf::system_clock().now_us() > deadline_us) return false;
    sleep_us(ms);
  }
  return true;
}

}  // namespace

TEST_CASE("a lease that is kept outlives its length many times, and ends with its run") {
  Stubborn queue;
  LeaseKeeper keeper(queue);
  const auto lease = queue.take(1000 * ms);
  // Long beside what a busy machine may take from a thread.
  CHECK(keeper.hold(lease.key, 1000 * ms).value() == HoldState::held);
  for (int look = 0; look < 30; ++look) {
    sleep_us(100 * ms);
    REQUIRE(queue.sweep().has_value());
    CHECK(keeper.state(lease.key).value() == HoldState::held);
  }
  CHECK(queue.extends >= 6);
  CHECK(queue.get(lease.key.id).value().state == JobState::running);
  CHECK(queue.get(lease.key.id).value().fencing_token == lease.key.fencing_token);
  CHECK(queue.complete(lease.key, {}).has_value());
  CHECK(keeper.let_go(lease.key));
  CHECK_FALSE(keeper.let_go(lease.key));
  CHECK(keeper.state(lease.key).error().status == Status::not_found);
  // Nothing to keep: no heartbeat any more.
  const int before = queue.extends;
  sleep_us(700 * ms);
  CHECK(queue.extends == before);
}

TEST_CASE("a run whose lease is kept learns that it is cancelled, and can still end") {
  Stubborn queue;
  LeaseKeeper keeper(queue);
  const auto lease = queue.take(300 * ms);
  REQUIRE(keeper.hold(lease.key, 300 * ms).has_value());
  CHECK(queue.cancel(lease.key.id).value() == CancelOutcome::requested);
  CHECK(comes([&] { return keeper.state(lease.key).value() == HoldState::cancel_requested; }));
  CHECK(queue.complete(lease.key, {}).has_value());
  // Asked for at once, it is known at once.
  const auto other = queue.take(300 * ms);
  CHECK(queue.cancel(other.key.id).value() == CancelOutcome::requested);
  CHECK(keeper.hold(other.key, 300 * ms).value() == HoldState::cancel_requested);
}

TEST_CASE("a lease that another has by now is lost at the next heartbeat, and cannot be kept") {
  Stubborn queue;
  LeaseKeeper keeper(queue);
  const auto lease = queue.take(200 * ms);
  REQUIRE(keeper.hold(lease.key, 200 * ms).has_value());
  CHECK(queue.release(lease.key, 0).has_value());
  CHECK(comes([&] { return keeper.state(lease.key).value() == HoldState::lost; }));
  const int then = queue.extends;
  sleep_us(300 * ms);
  CHECK(queue.extends == then);  // What is lost is asked for no more.
  CHECK(keeper.hold(lease.key, 200 * ms).error().status == Status::lease_lost);
}

TEST_CASE(
    "a lease that cannot be renewed is lost when it may be over, not before and not only when the server answers") {
  Stubborn queue;
  LeaseKeeper keeper(queue);
  const auto lease = queue.take(60'000 * ms);
  SUBCASE("heartbeats fail") {
    REQUIRE(keeper.hold(lease.key, 400 * ms).has_value());
    queue.fails = true;
    const int before = queue.extends;
    CHECK(comes([&] { return keeper.state(lease.key).value() == HoldState::lost; }));
    // It was tried again and again meanwhile: once a third, then each twentieth.
    CHECK(queue.extends >= before + 2);
    queue.fails = false;
  }
  SUBCASE("heartbeats hang") {
    REQUIRE(keeper.hold(lease.key, 400 * ms).has_value());
    const auto from_us = gf::system_clock().now_us();
    queue.hangs = true;
    CHECK(comes([&] { return keeper.state(lease.key).value() == HoldState::lost; }));
    CHECK(gf::system_clock().now_us() - from_us >= 100 * ms);
    queue.hangs = false;
  }
  SUBCASE("a short failure is got over") {
    REQUIRE(keeper.hold(lease.key, 3000 * ms).has_value());
    queue.fails = true;
    const int before = queue.extends;
    REQUIRE(comes([&] { return queue.extends > before; }));
    queue.fails = false;
    const int failed = queue.extends;
    REQUIRE(comes([&] { return queue.extends > failed + 1; }));
    CHECK(keeper.state(lease.key).value() == HoldState::held);
    return;
  }
  // The heartbeat that comes through at last does not make it the holder's again: it has been told.
  sleep_us(100 * ms);
  CHECK(keeper.state(lease.key).value() == HoldState::lost);
}

TEST_CASE("many leases are kept side by side, from several threads") {
  Stubborn queue;
  std::optional<LeaseKeeper> keeper(std::in_place, queue);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int round = 0; round < 40; ++round) {
        NewJob job;
        if (!queue.enqueue(std::move(job), 0)) ++wrong;
        ReserveRequest request;
        request.timeout_us = 10'000 * ms;
        const auto leases = queue.reserve(request);
        if (!leases || leases.value().size() != 1) {
          ++wrong;
          continue;
        }
        const auto key = leases.value()[0].key;
        if (!keeper->hold(key, 5'000 * ms)) ++wrong;
        if (round % 8 == 0) sleep_us(5 * ms);
        const auto state = keeper->state(key);
        if (!state || state.value() != HoldState::held) ++wrong;
        if (!queue.complete(key, {})) ++wrong;
        if (!keeper->let_go(key)) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  keeper.reset();
}
