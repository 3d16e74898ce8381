#include "error/handler.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using gf::Category;
using gf::Error;
using gf::Result;
using gf::Status;
using gf::error::BreakerOptions;
using gf::error::BreakerState;
using gf::error::CircuitBreaker;
using gf::error::ErrorHandler;
using gf::error::Failure;
using gf::error::HandlerOptions;
using gf::error::Operation;
using gf::error::RecoveryStep;
using Do = RecoveryStep::Do;

namespace {

constexpr std::int64_t second_us = 1'000'000;

/// Time that passes only by waiting.
class FakeTime final : public gf::Clock, public gf::error::Waiter {
 public:
  std::int64_t now_us() const noexcept override { return now; }
  std::int64_t unix_us() const noexcept override { return now; }
  bool wait(std::int64_t us) override {
    waits.push_back(us);
    if (gives_up) return false;
    now += us;
    return true;
  }
  std::atomic<std::int64_t> now{1000};
  std::vector<std::int64_t> waits;
  bool gives_up = false;
};

struct Fixture {
  explicit Fixture(HandlerOptions options = {}) {
    options.clock = &time;
    handler = ErrorHandler::create(options).value();
    operation.name = "test";
    operation.waiter = &time;
  }
  /// Fails with the given statuses in turn, then succeeds.
  Result<int> run(const std::vector<Status>& failures) {
    runs = 0;
    return handler->run<int>(operation, [&](std::uint32_t attempt) -> Result<int> {
      CHECK(attempt == runs + 1);
      if (runs++ < failures.size()) return Error{failures[runs - 1], "it failed", {}};
      return 7;
    });
  }
  FakeTime time;
  std::unique_ptr<ErrorHandler> handler;
  Operation operation;
  std::uint32_t runs = 0;
};

}  // namespace

TEST_CASE("what trying again may mend is tried again, at most so often; the rest goes on at once") {
  Fixture f;
  CHECK(f.run({}).value() == 7);
  CHECK(f.run({Status::io_error, Status::redis_error}).value() == 7);
  CHECK(f.runs == 3);
  CHECK(f.run({Status::io_error, Status::io_error, Status::io_error}).error().status == Status::io_error);
  CHECK(f.runs == 3);
  for (const auto status : {Status::invalid_argument, Status::internal, Status::out_of_device_memory,
                            Status::corrupt_file, Status::lease_lost, Status::not_finite}) {
    CHECK(f.run({status}).error().status == status);
    CHECK(f.runs == 1);
  }
  const auto s = f.handler->statistics();
  CHECK(s.operations == 9);
  CHECK(s.clean == 1);
  CHECK(s.recovered == 1);
  CHECK(s.failed == 7);
  CHECK(s.failed_recoverable == 1);
  CHECK(s.retries == 4);
  CHECK(s.strategies.at("retry").tried == 5);
  CHECK(s.strategies.at("retry").recovered == 1);
}

TEST_CASE("backoffs are drawn from the whole of a range that doubles up to its cap") {
  Fixture f(HandlerOptions{0.2, 1'000'000, 1, nullptr});
  f.operation.limits.attempts = 6;
  f.operation.limits.base_us = 100;
  f.operation.limits.cap_us = 400;
  std::vector<std::int64_t> longest(5, 0);
  std::vector<std::int64_t> shortest(5, INT64_MAX);
  for (int round = 0; round < 2000; ++round) {
    f.time.waits.clear();
    const std::vector<Status> failures(5, Status::network_error);
    REQUIRE(f.run(failures).has_value());
    // A wait of nothing is none, so the drawn ones are found from the back only when all are there.
    if (f.time.waits.size() != 5) continue;
    for (std::size_t at = 0; at < 5; ++at) {
      longest[at] = std::max(longest[at], f.time.waits[at]);
      shortest[at] = std::min(shortest[at], f.time.waits[at]);
    }
  }
  const std::vector<std::int64_t> bounds = {100, 200, 400, 400, 400};
  for (std::size_t at = 0; at < 5; ++at) {
    CAPTURE(at);
    CHECK(longest[at] <= bounds[at]);
    CHECK(longest[at] > bounds[at] * 95 / 100);
    CHECK(shortest[at] < bounds[at] / 20 + 1);
  }
}

TEST_CASE("what an error asks for is waited for, up to the cap and never past the deadline") {
  struct Row {
    std::int64_t asked_us;
    std::int64_t deadline_us;
    std::int64_t waits_us;  // -1: gives up without a wait.
  };
  for (const auto& row :
       {Row{3 * second_us, INT64_MAX, 3 * second_us}, Row{3600 * second_us, INT64_MAX, 60 * second_us},
        Row{3 * second_us, 1000 + 2 * second_us, -1}, Row{3 * second_us, 1000 + 4 * second_us, 3 * second_us},
        Row{INT64_MAX, INT64_MAX, 60 * second_us}, Row{-5, INT64_MAX, 0}}) {
    CAPTURE(row.asked_us);
    CAPTURE(row.deadline_us);
    Fixture f;
    f.operation.limits.base_us = 1;
    f.operation.limits.cap_us = 1;
    f.operation.deadline_us = row.deadline_us;
    int runs = 0;
    const auto result = f.handler->run<int>(f.operation, [&](std::uint32_t) -> Result<int> {
      if (runs++ > 0) return 1;
      Error error{Status::rate_limited, "slow down", {}};
      error.retry_after_us = row.asked_us;
      return error;
    });
    CHECK(result.has_value() == (row.waits_us >= 0));
    if (row.waits_us > 0) CHECK(f.time.waits.back() == row.waits_us);
    if (row.waits_us < 0) CHECK(f.time.waits.empty());
  }
}

TEST_CASE("three runs are three outcomes of the breaker, and an open breaker costs none") {
  Fixture f;
  BreakerOptions options;
  options.jitter = 0;
  options.open_us = 5 * second_us;
  options.failures_in_a_row = 4;
  const auto breaker = CircuitBreaker::create(options).value();
  f.operation.breaker = breaker.get();
  CHECK(f.run({Status::network_error, Status::network_error, Status::network_error}).has_error());
  CHECK(breaker->report(f.time.now).failures == 3);
  SUBCASE("waited for where there is a deadline") {
    f.operation.deadline_us = f.time.now + 60 * second_us;
    CHECK(f.run({Status::network_error, Status::network_error}).value() == 7);
    CHECK(f.runs == 3);
    // What the backoff before it left of the five seconds.
    CHECK(std::any_of(f.time.waits.begin(), f.time.waits.end(), [](std::int64_t us) { return us > 4 * second_us; }));
  }
  SUBCASE("answered at once where there is none, or it is too near") {
    CHECK(f.run({Status::network_error, Status::network_error}).error().status == Status::breaker_open);
    CHECK(f.runs == 1);
    f.operation.deadline_us = f.time.now + second_us;
    const auto refused = f.run({});
    CHECK(refused.error().status == Status::breaker_open);
    CHECK(refused.error().retry_after_us > 0);
    CHECK(f.runs == 0);
  }
  SUBCASE("a caller's fault does not count") {
    CHECK(f.run({Status::invalid_argument}).has_error());
    CHECK(breaker->state(f.time.now) == BreakerState::closed);
    CHECK(breaker->report(f.time.now).not_counted == 1);
  }
}

TEST_CASE("strategies are asked from the narrow to the wide, the newest first, and built-in ones last") {
  Fixture f;
  std::vector<std::string> asked;
  const auto add = [&](const std::string& name, std::optional<Status> status, std::optional<Category> category,
                       Do answer) {
    REQUIRE(f.handler
                ->add({name, status, category,
                       [&asked, name, answer](const Error&, const Failure& failure) {
                         CHECK(failure.operation == "test");
                         asked.push_back(name);
                         return RecoveryStep{answer, 0};
                       }})
                .has_value());
  };
  add("all", {}, {}, Do::pass);
  add("memory", {}, Category::memory, Do::pass);
  add("device 1", Status::out_of_device_memory, {}, Do::retry);
  add("device 2", Status::out_of_device_memory, {}, Do::pass);
  CHECK(f.run({Status::out_of_device_memory}).value() == 7);
  CHECK(asked == std::vector<std::string>{"device 2", "device 1"});
  CHECK(f.time.waits.empty());  // The cause was mended: nothing to back off from.
  asked.clear();
  CHECK(f.run({Status::out_of_host_memory}).has_error());
  CHECK(asked == std::vector<std::string>{"memory", "all"});
  asked.clear();
  CHECK(f.handler->remove("device 1"));
  CHECK_FALSE(f.handler->remove("device 1"));
  CHECK(f.run({Status::out_of_device_memory}).has_error());
  CHECK(asked == std::vector<std::string>{"device 2", "memory", "all"});
  add("stop", {}, Category::storage, Do::abort);
  CHECK(f.run({Status::io_error}).has_error());
  CHECK(f.runs == 1);
  const auto s = f.handler->statistics();
  CHECK(s.operations == s.clean + s.recovered + s.failed);
}

TEST_CASE("retries after something was mended are no attempts and cost nothing, but come to an end") {
  HandlerOptions options;
  options.budget_burst = 1;
  Fixture f(options);
  std::uint32_t mends = 20;
  REQUIRE(f.handler
              ->add({"mender",
                     {},
                     Category::memory,
                     [&](const Error&, const Failure&) {
                       if (mends == 0) return RecoveryStep{Do::abort};
                       --mends;
                       return RecoveryStep{Do::retry, 0, false, false};
                     }})
              .has_value());
  f.operation.limits.attempts = 2;
  CHECK(f.run(std::vector<Status>(20, Status::out_of_device_memory)).value() == 7);
  CHECK(f.handler->statistics().out_of_budget == 0);
  mends = 1'000'000;
  CHECK(f.run(std::vector<Status>(1000, Status::out_of_device_memory)).has_error());
  CHECK(f.runs <= 102);
}

TEST_CASE("a fallback takes the place of what failed") {
  Fixture f;
  REQUIRE(f.handler
              ->add({"cpu",
                     Status::device_lost,
                     {},
                     [](const Error&, const Failure&) {
                       return RecoveryStep{Do::fallback, 0};
                     }})
              .has_value());
  const auto failing = [](std::uint32_t) -> Result<int> { return Error{Status::device_lost, "gone", {}}; };
  CHECK(f.handler
            ->run<int>(f.operation, failing,
                       [](const Error& error) -> Result<int> {
                         CHECK(error.message == "gone");
                         return 5;
                       })
            .value() == 5);
  CHECK(f.handler->run<int>(f.operation, failing).error().message == "gone");
  const auto s = f.handler->statistics();
  CHECK(s.recovered == 1);
  CHECK(s.failed_recoverable == 1);
  CHECK(s.strategies.at("cpu").recovered == 1);
}

TEST_CASE("a strategy that throws is counted and passed over; a body that throws is a failure") {
  Fixture f;
  REQUIRE(f.handler->add({"bad", {}, {}, [](const Error&, const Failure&) -> RecoveryStep { throw 42; }}).has_value());
  CHECK(f.run({Status::io_error}).value() == 7);
  CHECK(f.handler->statistics().strategies_thrown == 1);
  CHECK_THROWS_AS(
      (void)f.handler->run<int>(f.operation, [](std::uint32_t) -> Result<int> { throw std::runtime_error("x"); }),
      std::runtime_error);
  const auto s = f.handler->statistics();
  CHECK(s.failed == 1);
  CHECK(s.operations == s.clean + s.recovered + s.failed);
}

TEST_CASE("a cancelled operation is not tried again, nor one whose waiter gives up") {
  Fixture f;
  CHECK(f.run({Status::cancelled}).error().status == Status::cancelled);
  CHECK(f.runs == 1);
  f.time.gives_up = true;
  f.operation.limits.base_us = f.operation.limits.cap_us = 1'000'000'000;
  CHECK(f.run({Status::io_error}).error().status == Status::io_error);
  CHECK(f.runs == 1);
  CHECK(f.handler->statistics().cancelled == 2);
}

TEST_CASE("the budget bounds retries when everything fails") {
  HandlerOptions options;
  options.budget_ratio = 0.1;
  options.budget_burst = 10;
  Fixture f(options);
  f.operation.limits.attempts = 100;
  const std::vector<Status> always(200, Status::network_error);
  std::uint64_t runs = 0;
  for (int index = 0; index < 1000; ++index) {
    CHECK(f.run(always).has_error());
    runs += f.runs;
  }
  // A tenth more than the operations themselves, and the burst.
  CHECK(runs <= 1000 + 100 + 10);
  CHECK(runs >= 1000 + 100);
  CHECK(f.handler->statistics().out_of_budget == 1000);
}

TEST_CASE("threads run, add and remove at a time, and every operation is accounted for") {
  HandlerOptions options;
  options.budget_burst = 1'000'000;
  const auto handler = ErrorHandler::create(options).value();
  std::vector<std::thread> threads;
  for (std::uint32_t index = 0; index < 4; ++index) {
    threads.emplace_back([&, index] {
      Operation operation;
      operation.name = "test";
      operation.limits.base_us = operation.limits.cap_us = 1;
      for (std::uint32_t turn = 0; turn < 1000; ++turn) {
        (void)handler->run<int>(operation, [&](std::uint32_t attempt) -> Result<int> {
          if ((turn + index + attempt) % 3 == 0) return Error{Status::out_of_device_memory, "x", {}};
          return 1;
        });
      }
    });
  }
  for (int turn = 0; turn < 200; ++turn) {
    (void)handler->add({"free memory", Status::out_of_device_memory, {}, [](const Error&, const Failure&) {
                          return RecoveryStep{Do::retry, 0};
                        }});
    std::this_thread::yield();
    handler->remove("free memory");
  }
  for (auto& thread : threads) thread.join();
  const auto s = handler->statistics();
  CHECK(s.operations == 4000);
  CHECK(s.operations == s.clean + s.recovered + s.failed);
}

TEST_CASE("what cannot be registered or made is refused by name") {
  Fixture f;
  CHECK(f.handler->add({}).error().message == "name is empty");
  CHECK(f.handler->add({"x", {}, {}, nullptr}).error().status == Status::invalid_argument);
  const auto pass = [](const Error&, const Failure&) { return RecoveryStep{}; };
  CHECK(f.handler->add({"retry", {}, {}, pass}).error().status == Status::already_exists);
  CHECK(f.handler->add({"x", {}, {}, pass}).has_value());
  CHECK(f.handler->add({"x", {}, {}, pass}).error().status == Status::already_exists);
  HandlerOptions options;
  options.budget_ratio = -1;
  CHECK(ErrorHandler::create(options).error().message.starts_with("budget_ratio is -1"));
  options = {};
  options.budget_burst = 0;
  CHECK(ErrorHandler::create(options).error().message.starts_with("budget_burst is 0"));
}
