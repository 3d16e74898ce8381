#include "error/breaker.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using gf::Error;
using gf::Status;
using gf::error::BreakerEvent;
using gf::error::BreakerOptions;
using gf::error::BreakerReason;
using gf::error::BreakerState;
using gf::error::CircuitBreaker;
using gf::error::Verdict;

namespace {

constexpr std::int64_t second_us = 1'000'000;
using Token = CircuitBreaker::Token;

std::shared_ptr<CircuitBreaker> breaker_of(const BreakerOptions& options) {
  auto made = CircuitBreaker::create(options);
  REQUIRE(made.has_value());
  return made.value();
}

void fail(CircuitBreaker& breaker, std::int64_t now_us, int times = 1) {
  for (int index = 0; index < times; ++index) {
    auto permit = breaker.allow(now_us);
    REQUIRE(permit);
    permit.failure(now_us);
  }
}

void succeed(CircuitBreaker& breaker, std::int64_t now_us, int times = 1) {
  for (int index = 0; index < times; ++index) {
    auto permit = breaker.allow(now_us);
    REQUIRE(permit);
    permit.success(now_us);
  }
}

/// Options without chance and without a row, so that a test says what it is about.
BreakerOptions plain() {
  BreakerOptions options;
  options.failures_in_a_row = 0;
  options.jitter = 0;
  options.open_us = 10 * second_us;
  options.window_us = 100 * second_us;
  options.minimum_calls = 4;
  return options;
}

BreakerOptions tripping_at_once() {
  auto options = plain();
  options.failures_in_a_row = 1;
  return options;
}

/// The breaker's rules written down plainly: lists of what happened, looked through at every question. An answer that
/// is independent of words, cells and shards.
class Model {
 public:
  explicit Model(const BreakerOptions& options) : options_(options) {}

  struct Call {
    std::uint64_t period = 0;  // Counts changes of state.
    std::int64_t begun_us = 0;
    std::int64_t deadline_us = -1;  // Of a probe.
  };

  BreakerState state = BreakerState::closed;

  std::optional<Call> allow(std::int64_t now) {
    if (state == BreakerState::open && now >= open_until_us_) enter(BreakerState::half_open);
    switch (state) {
      case BreakerState::open:
      case BreakerState::forced_open:
        return std::nullopt;
      case BreakerState::half_open:
        while (issued_ >= options_.probes && state == BreakerState::half_open) {
          // Of the leases that have ended, one at a time fails, the first in its place.
          bool ended = false;
          for (auto& probe : probes_) {
            if (probe && now >= *probe) {
              probe.reset();
              settle(Verdict::failure, now, 0);
              ended = true;
              break;
            }
          }
          if (!ended) return std::nullopt;
        }
        if (state != BreakerState::half_open) return allow(now);
        ++issued_;
        return Call{period, now, rounded_up(now + options_.probe_lease_us)};
      case BreakerState::closed:
      case BreakerState::forced_closed:
        if (options_.slow_call_us > 0 && now / options_.slow_call_us != last_slow_period_) {
          last_slow_period_ = now / options_.slow_call_us;
          // A new period of slow calls: those that hang are looked for.
          const auto hang = hanging(now);
          if (state == BreakerState::closed && hang > 0 && slow_trips(now, hang)) {
            open(now, 0);
            return allow(now);
          }
        }
        under_way_.push_back(now);
        return Call{period, now, -1};
      case BreakerState::disabled:
        return Call{period, now, -1};
    }
    return std::nullopt;
  }

  void place(std::uint32_t at, std::int64_t deadline_us) { probes_[at] = deadline_us; }

  void report(const Call& call, std::uint32_t probe, bool lease_is_there, Verdict verdict, std::int64_t now,
              std::int64_t retry_after_us) {
    if (call.period != period) return;
    const bool slow =
        options_.slow_call_us > 0 && verdict != Verdict::not_counted && now - call.begun_us >= options_.slow_call_us;
    if (state == BreakerState::half_open) {
      if (!lease_is_there) return;
      probes_[probe].reset();
      settle(slow ? Verdict::failure : verdict, now, retry_after_us);
      return;
    }
    if (state != BreakerState::closed && state != BreakerState::forced_closed) return;
    under_way_.erase(std::find(under_way_.begin(), under_way_.end(), call.begun_us));
    if (verdict == Verdict::not_counted) return;
    const bool failed = verdict == Verdict::failure;
    outcomes_.push_back({now, failed, slow});
    row_ = failed ? row_ + 1 : 0;
    if ((failed || slow) && state == BreakerState::closed && trips(now)) open(now, retry_after_us);
  }

  void force(BreakerState to) { enter(to); }

  std::uint64_t period = 0;

 private:
  struct Outcome {
    std::int64_t at_us;
    bool failed;
    bool slow;
  };

  static std::int64_t rounded_up(std::int64_t us) { return (us + 999) / 1000 * 1000; }

  void enter(BreakerState to) {
    state = to;
    ++period;
    outcomes_.clear();
    under_way_.clear();
    row_ = 0;
    issued_ = to == BreakerState::half_open ? 0 : issued_;
    succeeded_ = failed_ = 0;
    probes_.assign(CircuitBreaker::max_probes, std::nullopt);
  }

  void open(std::int64_t now, std::int64_t retry_after_us) {
    enter(BreakerState::open);
    open_until_us_ = rounded_up(now + std::max(options_.open_us, std::min(retry_after_us, options_.max_open_us)));
  }

  void settle(Verdict verdict, std::int64_t now, std::int64_t retry_after_us) {
    if (verdict == Verdict::not_counted) {
      --issued_;
      return;
    }
    ++(verdict == Verdict::success ? succeeded_ : failed_);
    if (succeeded_ == options_.probes_to_close) {
      enter(BreakerState::closed);
    } else if (failed_ + options_.probes_to_close > options_.probes) {
      open(now, retry_after_us);
    }
  }

  struct Sums {
    double calls = 0;
    double failures = 0;
    double slow = 0;
  };

  Sums window(std::int64_t now) const {
    Sums out;
    const auto bucket_us = options_.window_us / 10;
    for (std::size_t index = 0; index < outcomes_.size(); ++index) {
      const bool inside = options_.window == BreakerOptions::Window::count
                              ? index + options_.window_calls >= outcomes_.size()
                              : now / bucket_us - outcomes_[index].at_us / bucket_us < 10;
      if (!inside) continue;
      ++out.calls;
      out.failures += outcomes_[index].failed ? 1 : 0;
      out.slow += outcomes_[index].slow ? 1 : 0;
    }
    return out;
  }

  double hanging(std::int64_t now) const {
    return static_cast<double>(std::count_if(under_way_.begin(), under_way_.end(), [&](std::int64_t begun_us) {
      return now / options_.slow_call_us - begun_us / options_.slow_call_us >= 2;
    }));
  }

  bool slow_trips(std::int64_t now, double hang) const {
    const auto sums = window(now);
    const auto calls = sums.calls + hang;
    return calls >= options_.minimum_calls && sums.slow + hang > 0 && sums.slow + hang >= options_.slow_rate * calls;
  }

  bool trips(std::int64_t now) const {
    if (options_.failures_in_a_row > 0 && row_ >= options_.failures_in_a_row) return true;
    const auto sums = window(now);
    if (sums.calls >= options_.minimum_calls && sums.failures >= options_.failure_rate * sums.calls) return true;
    return options_.slow_call_us > 0 && slow_trips(now, hanging(now));
  }

  BreakerOptions options_;
  std::vector<Outcome> outcomes_;
  std::vector<std::int64_t> under_way_;  // When each call of this period began.
  std::int64_t last_slow_period_ = -1;
  std::uint32_t row_ = 0;
  std::uint32_t issued_ = 0;
  std::uint32_t succeeded_ = 0;
  std::uint32_t failed_ = 0;
  std::int64_t open_until_us_ = 0;
  std::vector<std::optional<std::int64_t>> probes_{CircuitBreaker::max_probes, std::nullopt};
};

std::string what_was_told(const CircuitBreaker& breaker, std::int64_t now_us) {
  return std::string(name_of(breaker.state(now_us))) + " at " + std::to_string(now_us) + " " +
         breaker.report_json(now_us);
}

/// One random history on the breaker and on the model. The model learns from the breaker only in which place a probe
/// lies, since that is nobody's business else.
void random_history(std::uint32_t seed) {
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto draw = [&random](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  BreakerOptions options;
  options.window = draw(0, 3) == 0 ? BreakerOptions::Window::count : BreakerOptions::Window::time;
  options.window_us = draw(1, 20) * 10'000;
  options.window_calls = static_cast<std::uint32_t>(draw(1, 12));
  options.minimum_calls =
      static_cast<std::uint32_t>(draw(1, options.window == BreakerOptions::Window::count ? options.window_calls : 8));
  options.failure_rate = static_cast<double>(draw(1, 10)) / 10;
  options.failures_in_a_row = static_cast<std::uint32_t>(draw(0, 4));
  options.slow_call_us = draw(0, 2) == 0 ? draw(1000, 40'000) : 0;
  options.slow_rate = static_cast<double>(draw(1, 10)) / 10;
  options.open_us = draw(1, 100) * 1000;
  options.max_open_us = options.open_us + draw(0, 100'000);
  options.jitter = 0;
  options.probes = static_cast<std::uint32_t>(draw(1, 5));
  options.probes_to_close = static_cast<std::uint32_t>(draw(1, options.probes));
  options.probe_lease_us = draw(1, 60) * 1000 + draw(0, 999);
  std::vector<BreakerEvent> events;
  options.listener = [&](const BreakerEvent& event) { events.push_back(event); };
  const auto breaker = breaker_of(options);
  Model model(options);

  struct Pair {
    Token token;
    Model::Call call;
  };
  std::vector<Pair> calls;
  std::int64_t now = draw(0, 1) == 0 ? 0 : draw(0, 1'000'000'000'000);
  const auto steps = draw(5, 60);
  for (std::int64_t step = 0; step < steps; ++step) {
    CAPTURE(step);
    now += draw(0, 3) == 0 ? draw(0, 60'000) : draw(0, 2'000);
    if (draw(0, 300) == 0) now += 500'000'000;  // Longer than every window.
    const auto what = draw(0, 19);
    if (what < 9) {
      const auto expected = model.allow(now);
      auto permit = breaker->allow(now);
      CAPTURE(what_was_told(*breaker, now));
      REQUIRE(static_cast<bool>(permit) == expected.has_value());
      if (permit) {
        const auto token = permit.detach();
        REQUIRE((token.probe != CircuitBreaker::no_probe) == (expected->deadline_us >= 0));
        if (token.probe != CircuitBreaker::no_probe) model.place(token.probe, expected->deadline_us);
        calls.push_back({token, *expected});
      } else {
        REQUIRE(permit.retry_after_us() > 0);
      }
    } else if (what < 18 && !calls.empty()) {
      const auto at = static_cast<std::size_t>(draw(0, static_cast<std::int64_t>(calls.size()) - 1));
      const auto call = calls[at];
      calls.erase(calls.begin() + static_cast<std::ptrdiff_t>(at));
      const auto roll = draw(0, 9);
      const auto verdict = roll < 4 ? Verdict::failure : roll < 8 ? Verdict::success : Verdict::not_counted;
      const auto retry_after_us = draw(0, 5) == 0 ? draw(0, 300'000) : 0;
      // A lease is there as long as nobody who wanted in found it ended.
      const auto late_before = breaker->report(now).late;
      breaker->report(call.token, verdict, now, retry_after_us);
      const bool late = breaker->report(now).late != late_before;
      model.report(call.call, call.token.probe, !late, verdict, now, retry_after_us);
      if (late && call.call.period == model.period && model.state == BreakerState::half_open) {
        REQUIRE(now >= call.call.deadline_us);
      }
    } else if (what == 18 && draw(0, 3) == 0) {
      const auto to = draw(0, 3);
      if (to == 0) breaker->force_open(now), model.force(BreakerState::forced_open);
      if (to == 1) breaker->force_closed(now), model.force(BreakerState::forced_closed);
      if (to == 2) breaker->disable(now), model.force(BreakerState::disabled);
      if (to == 3) breaker->reset(now), model.force(BreakerState::closed);
    } else if (what == 19 && model.state > BreakerState::half_open) {
      breaker->reset(now);
      model.force(BreakerState::closed);
    }
    CAPTURE(what_was_told(*breaker, now));
    CAPTURE(events.empty() ? "" : std::string(name_of(events.back().reason)));
    CAPTURE(options.slow_call_us);
    CAPTURE(options.slow_rate);
    CAPTURE(options.failure_rate);
    CAPTURE(options.minimum_calls);
    REQUIRE(breaker->report(now).generation == model.period);
    REQUIRE(events.size() == model.period);
    if (!events.empty()) REQUIRE(events.back().to == model.state);
    for (std::size_t index = 1; index < events.size(); ++index) REQUIRE(events[index].from == events[index - 1].to);
  }
  // Never stuck: whatever happened, calls that come and succeed close it, with nobody's help but time.
  if (model.state <= BreakerState::half_open) {
    for (int turn = 0; turn < 200 && breaker->state(now) != BreakerState::closed; ++turn) {
      now += options.max_open_us / 4 + options.probe_lease_us / 4 + 1000;
      if (auto permit = breaker->allow(now)) permit.success(now);
    }
    REQUIRE(breaker->state(now) == BreakerState::closed);
  }
}

}  // namespace

TEST_CASE("trips at the rate once there are enough calls, stays open for its time, and closes after good probes") {
  std::vector<BreakerEvent> events;
  auto options = plain();
  options.listener = [&](const BreakerEvent& event) { events.push_back(event); };
  const auto breaker = breaker_of(options);
  succeed(*breaker, 0, 2);
  fail(*breaker, 0);
  CHECK(breaker->state(0) == BreakerState::closed);
  CHECK(breaker->report(0).calls_missing == 0);
  fail(*breaker, second_us);
  CHECK(breaker->state(second_us) == BreakerState::open);
  auto refused = breaker->allow(2 * second_us);
  CHECK_FALSE(refused);
  CHECK(refused.retry_after_us() == 9 * second_us);
  CHECK_FALSE(breaker->allow(11 * second_us - 1));
  succeed(*breaker, 11 * second_us, 2);
  CHECK(breaker->state(11 * second_us) == BreakerState::closed);
  REQUIRE(events.size() == 3);
  CHECK(events[0].reason == BreakerReason::failure_rate);
  CHECK(events[0].open_until_us == 11 * second_us);
  CHECK(events[1].reason == BreakerReason::open_time_over);
  CHECK(events[2].reason == BreakerReason::probes_succeeded);
  CHECK(breaker->report(11 * second_us).window_calls == 0);
  CHECK(breaker->report(11 * second_us).trips == 1);
}

TEST_CASE("five failures in a row trip at one call a minute, and the report says what is missing") {
  const auto breaker = breaker_of({});
  std::int64_t now = 0;
  for (int index = 0; index < 4; ++index, now += 60 * second_us) {
    CHECK(breaker->report(now).row_missing == 4u - static_cast<unsigned>(index));
    fail(*breaker, now);
  }
  CHECK(breaker->state(now) == BreakerState::closed);
  CHECK(breaker->report_json(now).find(R"("missing_to_trip":{"calls":5,"failures_in_a_row":0})") != std::string::npos);
  fail(*breaker, now);
  CHECK(breaker->state(now) == BreakerState::open);
}

TEST_CASE("a success in between ends a row") {
  auto options = plain();
  options.failures_in_a_row = 3;
  options.minimum_calls = 1000;
  const auto breaker = breaker_of(options);
  for (int round = 0; round < 10; ++round) {
    fail(*breaker, round, 2);
    succeed(*breaker, round);
  }
  CHECK(breaker->state(10) == BreakerState::closed);
  fail(*breaker, 11, 3);
  CHECK(breaker->state(11) == BreakerState::open);
}

TEST_CASE("what left the window counts no more") {
  const auto breaker = breaker_of(plain());
  fail(*breaker, 0, 3);
  succeed(*breaker, 101 * second_us, 3);
  fail(*breaker, 101 * second_us);  // 1 of 4, not 4 of 7.
  CHECK(breaker->state(101 * second_us) == BreakerState::closed);
  CHECK(breaker->report(101 * second_us).window_calls == 4);
}

TEST_CASE("a thousand cancels leave the counts at zero") {
  const auto breaker = breaker_of({});
  for (int index = 0; index < 1000; ++index) {
    auto permit = breaker->allow(index);
    permit.failed(Error{Status::cancelled, "stop was pressed", {}}, index);
  }
  const auto report = breaker->report(1000);
  CHECK(report.window_calls == 0);
  CHECK(report.failures == 0);
  CHECK(report.not_counted == 1000);
  CHECK(report.state == BreakerState::closed);
}

TEST_CASE("a result of another generation moves nothing") {
  const auto breaker = breaker_of(tripping_at_once());
  auto old_good = breaker->allow(0);
  auto old_bad = breaker->allow(0);
  fail(*breaker, 0);
  REQUIRE(breaker->state(10 * second_us) == BreakerState::half_open);
  auto probe = breaker->allow(10 * second_us);
  REQUIRE(probe);
  old_good.success(10 * second_us);
  old_bad.failure(10 * second_us);
  auto report = breaker->report(10 * second_us);
  CHECK(report.state == BreakerState::half_open);
  CHECK(report.late == 2);
  probe.success(10 * second_us);
  succeed(*breaker, 10 * second_us);
  CHECK(breaker->state(10 * second_us) == BreakerState::closed);
}

TEST_CASE("half-open lets n calls through, and one bad of five closes at four good") {
  auto options = tripping_at_once();
  options.probes = 5;
  options.probes_to_close = 4;
  const auto breaker = breaker_of(options);
  fail(*breaker, 0);
  const auto now = 10 * second_us;
  std::vector<CircuitBreaker::Permit> probes;
  for (int index = 0; index < 5; ++index) {
    probes.push_back(breaker->allow(now));
    REQUIRE(probes.back());
  }
  CHECK_FALSE(breaker->allow(now));
  probes[2].failure(now);
  for (const auto index : {0u, 1u, 3u}) probes[index].success(now);
  CHECK(breaker->state(now) == BreakerState::half_open);
  probes[4].success(now);
  CHECK(breaker->state(now) == BreakerState::closed);
}

TEST_CASE("a probe's place comes back whatever becomes of it") {
  auto options = tripping_at_once();
  options.probes = 1;
  options.probes_to_close = 1;
  options.probe_lease_us = 5 * second_us;
  const auto breaker = breaker_of(options);
  fail(*breaker, 0);
  auto now = 10 * second_us;
  SUBCASE("dropped by an exception") {
    try {
      const auto probe = breaker->allow(now);
      REQUIRE(probe);
      throw std::runtime_error("the call threw");
    } catch (const std::runtime_error&) {
    }
    CHECK(breaker->allow(now));
  }
  SUBCASE("an ignored error") {
    breaker->allow(now).failed(Error{Status::invalid_argument, "width_px is 0", {}}, now);
    CHECK(breaker->allow(now));
  }
  SUBCASE("silence") {
    for (int round = 0; round < 10; ++round) {
      REQUIRE(breaker->allow(now).detach().probe == 0);
      CHECK_FALSE(breaker->allow(now + 5 * second_us - 1));
      // The lease's end is a failure: open again, and probing again after the open time.
      CHECK_FALSE(breaker->allow(now + 5 * second_us));
      CHECK(breaker->state(now + 5 * second_us) == BreakerState::open);
      now += 15 * second_us;
    }
    CHECK(breaker->report(now).trips == 11);
    succeed(*breaker, now);
    CHECK(breaker->state(now) == BreakerState::closed);
  }
  SUBCASE("told twice") {
    const auto token = breaker->allow(now).detach();
    breaker->report(token, Verdict::not_counted, now);
    breaker->report(token, Verdict::not_counted, now);
    auto next = breaker->allow(now);
    REQUIRE(next);
    breaker->report(token, Verdict::failure, now);  // The first one's, once more: not the second's.
    CHECK(breaker->state(now) == BreakerState::half_open);
    CHECK_FALSE(breaker->allow(now));
    next.success(now);
    CHECK(breaker->state(now) == BreakerState::closed);
  }
}

TEST_CASE("from every state that eight events lead to, closed is reachable") {
  // Events: allow, and for the oldest call under way success, failure, ignored; time passes; a lease runs out.
  auto options = tripping_at_once();
  options.probes = 2;
  options.probes_to_close = 1;
  options.open_us = options.max_open_us = 1000;
  options.probe_lease_us = 3000;
  constexpr int kinds = 6;
  std::uint64_t all = 1;
  for (int length = 0; length < 8; ++length) all *= kinds;
  std::set<std::uint32_t> seen_states;
  for (std::uint64_t code = 0; code < all; code += 7) {  // Each seventh: the rest differ in the last events alone.
    const auto breaker = breaker_of(options);
    std::vector<Token> calls;
    std::int64_t now = 0;
    auto rest = code;
    for (int at = 0; at < 8; ++at, rest /= kinds) {
      const auto kind = rest % kinds;
      if (kind == 0) {
        if (auto permit = breaker->allow(now)) calls.push_back(permit.detach());
      } else if (kind <= 3) {
        if (calls.empty()) continue;
        breaker->report(calls.front(), static_cast<Verdict>(kind - 1), now);
        calls.erase(calls.begin());
      } else {
        now += kind == 4 ? 1000 : 3000;
      }
    }
    seen_states.insert(static_cast<std::uint32_t>(breaker->state(now)));
    for (int turn = 0; turn < 20 && breaker->state(now) != BreakerState::closed; ++turn, now += 1000) {
      if (auto permit = breaker->allow(now)) permit.success(now);
    }
    REQUIRE(breaker->state(now) == BreakerState::closed);
  }
  CHECK(seen_states.size() == 3);
}

TEST_CASE("random histories agree with the reference model, and none is stuck") {
  // The million runs under the label `full`: GAMEFORGE_HISTORIES.
  const auto* wanted = std::getenv("GAMEFORGE_HISTORIES");
  const auto count = wanted == nullptr ? 5000u : static_cast<std::uint32_t>(std::strtoul(wanted, nullptr, 10));
  const auto* seed = std::getenv("GAMEFORGE_SEED");
  const auto first =
      seed == nullptr ? std::random_device()() : static_cast<std::uint32_t>(std::strtoul(seed, nullptr, 10));
  MESSAGE(count << " histories from seed " << first);
  for (std::uint32_t index = 0; index < count; ++index) random_history(first + index);
}

TEST_CASE("64 threads at the moment of half-open: at most n are let through") {
  auto options = tripping_at_once();
  options.probes = 3;
  options.probes_to_close = 3;
  const auto breaker = breaker_of(options);
  for (int round = 0; round < 5; ++round) {
    fail(*breaker, 0);
    const auto now = 11 * second_us;
    std::atomic<int> ready{0};
    std::atomic<int> admitted{0};
    std::vector<std::thread> threads;
    for (int index = 0; index < 64; ++index) {
      threads.emplace_back([&] {
        ++ready;
        while (ready < 64) std::this_thread::yield();
        for (int turn = 0; turn < 20; ++turn) {
          if (auto permit = breaker->allow(now)) {
            ++admitted;
            permit.detach();
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(admitted == 3);
    breaker->reset(now);
  }
}

TEST_CASE("threads that call, fail, ignore and let leases run out never leave it stuck, and the sums are exact") {
  auto options = plain();
  options.failures_in_a_row = 50;
  options.failure_rate = 1;
  options.minimum_calls = 1'000'000;
  options.open_us = options.max_open_us = 1000;
  options.probe_lease_us = 2000;
  options.slow_call_us = 10 * second_us;
  const auto breaker = breaker_of(options);
  std::atomic<std::int64_t> now{0};
  std::atomic<std::uint64_t> reported{0};
  std::atomic<std::uint64_t> silent{0};
  std::vector<std::thread> threads;
  for (std::uint32_t index = 0; index < 20; ++index) {  // More than have a place of their own.
    threads.emplace_back([&, index] {
      std::mt19937 random(index);
      for (int turn = 0; turn < 2000; ++turn) {
        const auto at = now.fetch_add(10, std::memory_order_relaxed);
        auto permit = breaker->allow(at);
        if (!permit) continue;
        const auto roll = random() % 100;
        if (roll < 45) {
          permit.failure(at);
        } else if (roll < 90) {
          permit.success(at);
        } else if (roll < 98) {
          permit.not_counted(at);
        } else {
          permit.detach();
          ++silent;
          continue;
        }
        ++reported;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  auto at = now.load();
  const auto report = breaker->report(at);
  CHECK(report.successes + report.failures + report.not_counted + report.late == reported);
  for (int turn = 0; turn < 100 && breaker->state(at) != BreakerState::closed; ++turn, at += 3000) {
    if (auto permit = breaker->allow(at)) permit.success(at);
  }
  CHECK(breaker->state(at) == BreakerState::closed);
}

TEST_CASE("ten calls that hang trip it before the first returns") {
  auto options = plain();
  options.slow_call_us = second_us;
  options.minimum_calls = 10;
  const auto breaker = breaker_of(options);
  std::vector<CircuitBreaker::Permit> hanging;
  for (int index = 0; index < 10; ++index) hanging.push_back(breaker->allow(index * 1000));
  CHECK(breaker->state(second_us) == BreakerState::closed);
  CHECK_FALSE(breaker->allow(2 * second_us + 10'000));
  CHECK(breaker->state(2 * second_us + 10'000) == BreakerState::open);
  for (auto& permit : hanging) permit.success(3 * second_us);
  CHECK(breaker->state(3 * second_us) == BreakerState::open);
  CHECK(breaker->report(3 * second_us).late == 10);
}

TEST_CASE("a window that lay idle for years counts as a new one") {
  auto options = plain();
  options.window_us = 10'000;
  options.failures_in_a_row = 0;
  const auto breaker = breaker_of(options);
  // Distances at which the 24 bits of a bucket's number come round, and half way, where before and after change places.
  for (const std::int64_t buckets :
       {std::int64_t{0}, std::int64_t{1} << 23, std::int64_t{1} << 24, std::int64_t{99'640'237}}) {
    CAPTURE(buckets);
    const auto now = 1'000'000 + buckets * 1000 + (buckets == std::int64_t{1} << 24 ? 50'000 : 0);
    breaker->reset(now);
    succeed(*breaker, now, 3);
    CHECK(breaker->report(now).window_calls == 3);
    const auto later = now + (std::int64_t{1} << 23) * 1000 + 3000;
    succeed(*breaker, later, 3);
    CHECK(breaker->report(later).window_calls == 3);
    fail(*breaker, later, 3);
    CHECK(breaker->state(later) == BreakerState::open);
  }
}

TEST_CASE("calls that are slow but end count as slow, and calls under way are forgotten when they end") {
  auto options = plain();
  options.slow_call_us = second_us;
  const auto breaker = breaker_of(options);
  for (int index = 0; index < 50; ++index) {
    auto permit = breaker->allow(index * second_us);
    REQUIRE(permit);
    permit.success(index * second_us + second_us - 1);
  }
  CHECK(breaker->report(60 * second_us).slow_under_way == 0);
  CHECK(breaker->report(60 * second_us).window_slow == 0);
  for (int index = 0; index < 200 && breaker->state(100 * second_us) == BreakerState::closed; ++index) {
    auto permit = breaker->allow(100 * second_us);
    if (permit) permit.success(101 * second_us);
  }
  CHECK(breaker->state(101 * second_us) == BreakerState::open);
}

TEST_CASE("an error may ask for a longer break, up to the limit") {
  auto options = tripping_at_once();
  options.max_open_us = 60 * second_us;
  struct Row {
    std::int64_t asked_us;
    std::int64_t open_us;
  };
  for (const auto row :
       {Row{0, 10 * second_us}, Row{5 * second_us, 10 * second_us}, Row{30 * second_us, 30 * second_us},
        Row{3600 * second_us, 60 * second_us}, Row{INT64_MAX, 60 * second_us}}) {
    CAPTURE(row.asked_us);
    const auto breaker = breaker_of(options);
    Error error{Status::network_error, "503", {}};
    error.retry_after_us = row.asked_us;
    breaker->allow(0).failed(error, 0);
    CHECK(breaker->report(0).open_for_us == row.open_us);
  }
}

TEST_CASE("100 breakers that trip at once are spread over at least a fifth of the period") {
  auto options = tripping_at_once();
  options.jitter = 0.25;
  std::int64_t first = INT64_MAX;
  std::int64_t last = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    options.jitter_seed = seed;
    const auto breaker = breaker_of(options);
    fail(*breaker, 0);
    const auto open_us = breaker->report(0).open_for_us;
    CHECK(open_us >= options.open_us);
    CHECK(open_us <= options.open_us + options.open_us / 4 + 1000);
    first = std::min(first, open_us);
    last = std::max(last, open_us);
  }
  CHECK(last - first >= options.open_us / 5);
}

TEST_CASE("open never outlasts its time when calls arrive, whatever fails meanwhile") {
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    auto options = tripping_at_once();
    options.open_us = options.max_open_us = 1000 * (1 + random() % 50);
    const auto breaker = breaker_of(options);
    std::vector<Token> calls;
    std::int64_t now = 0;
    std::int64_t opened = -1;
    for (int step = 0; step < 300; ++step) {
      now += random() % 3000;
      if (auto permit = breaker->allow(now)) calls.push_back(permit.detach());
      if (!calls.empty() && random() % 2 == 0) {
        breaker->report(calls.back(), random() % 2 == 0 ? Verdict::failure : Verdict::success, now);
        calls.pop_back();
      }
      if (breaker->state(now) != BreakerState::open) {
        opened = -1;
      } else if (opened < 0) {
        opened = now;
      } else {
        REQUIRE(now - opened < options.open_us + 1000);
      }
    }
  }
}

TEST_CASE("forced and disabled states hold until they are taken back") {
  const auto breaker = breaker_of(tripping_at_once());
  breaker->force_open(0);
  CHECK_FALSE(breaker->allow(1'000'000 * second_us));
  breaker->force_closed(0);
  fail(*breaker, 0, 20);
  CHECK(breaker->state(0) == BreakerState::forced_closed);
  CHECK(breaker->report(0).window_failures == 20);
  breaker->disable(0);
  fail(*breaker, 0, 20);
  CHECK(breaker->report(0).window_calls == 0);
  breaker->reset(0);
  CHECK(breaker->state(0) == BreakerState::closed);
  fail(*breaker, 0);
  CHECK(breaker->state(0) == BreakerState::open);
}

TEST_CASE("what another process found out opens it, but not a forced one, and not for longer than the limit") {
  auto options = plain();
  options.max_open_us = 20 * second_us;
  const auto breaker = breaker_of(options);
  CHECK(breaker->follow(BreakerState::open, 1000 * second_us, false, 0));
  CHECK(breaker->report(0).open_for_us == 20 * second_us);
  // The same break, whose end moves.
  CHECK(breaker->follow(BreakerState::open, 15 * second_us, false, 0));
  CHECK(breaker->report(0).open_for_us == 15 * second_us);
  CHECK(breaker->report(0).trips == 1);
  CHECK_FALSE(breaker->follow(BreakerState::open, 15 * second_us, false, 0));
  CHECK(breaker->follow(BreakerState::closed, 0, false, 0));
  breaker->force_closed(0);
  CHECK_FALSE(breaker->follow(BreakerState::open, 15 * second_us, false, 0));
  CHECK(breaker->follow(BreakerState::forced_open, 0, true, 0));
  CHECK(breaker->follow(BreakerState::closed, 0, true, 0));
}

namespace {

struct NotedPeer final : gf::error::BreakerPeer {
  void changed(const BreakerEvent& event) noexcept override {
    ++changes;
    last = event.to;
  }
  void probe_wanted() noexcept override { ++wanted; }
  void probe_ended(std::uint32_t grant, Verdict verdict) noexcept override {
    ++ended;
    last_grant = grant;
    last_verdict = verdict;
  }
  std::atomic<int> changes{0};
  std::atomic<int> wanted{0};
  std::atomic<int> ended{0};
  std::atomic<std::uint32_t> last_grant{0};
  std::atomic<Verdict> last_verdict{Verdict::success};
  std::atomic<BreakerState> last{BreakerState::closed};
};

}  // namespace

TEST_CASE("while probes are gated a call needs a grant, which is used once, in time, and reported by its number") {
  auto options = tripping_at_once();
  options.probe_lease_us = 10 * second_us;
  const auto breaker = breaker_of(options);
  const auto peer = std::make_shared<NotedPeer>();
  CHECK(breaker->attach(peer));
  CHECK_FALSE(breaker->attach(std::make_shared<NotedPeer>()));
  fail(*breaker, 0);
  CHECK(peer->changes == 1);
  CHECK(peer->last == BreakerState::open);
  breaker->gate_probes(true);
  std::int64_t now = 1000 * second_us;
  CHECK_FALSE(breaker->allow(now));
  CHECK(peer->wanted == 1);
  breaker->hold_probes(now + second_us);
  CHECK(breaker->allow(now).retry_after_us() == second_us);
  CHECK(peer->wanted == 1);
  now += second_us;
  CHECK_FALSE(breaker->grant(0, now));
  CHECK(breaker->grant(7, now + second_us));
  CHECK(breaker->grant(8, now + second_us));
  auto probe = breaker->allow(now);
  REQUIRE(probe);
  probe.not_counted(now);
  CHECK(peer->ended == 1);
  CHECK(peer->last_verdict == Verdict::not_counted);
  const auto first = peer->last_grant.load();
  CHECK((first == 7 || first == 8));
  CHECK(breaker->take_back_grant(now) == 0);
  // One that was not used in time is no leave any more, and goes back.
  now += second_us;
  CHECK_FALSE(breaker->allow(now));
  CHECK(breaker->take_back_grant(now) == (first == 7 ? 8 : 7));
  CHECK(breaker->take_back_grant(now) == 0);
  // A probe that says nothing has failed, and its number is told.
  CHECK(breaker->grant(9, now + second_us));
  auto silent = breaker->allow(now).detach();
  CHECK(silent.probe != CircuitBreaker::no_probe);
  now += 11 * second_us;
  CHECK_FALSE(breaker->allow(now));
  CHECK(peer->last_grant == 9);
  CHECK(peer->last_verdict == Verdict::failure);
  // Without the gate it is a breaker of its own again.
  breaker->gate_probes(false);
  now += 1000 * second_us;
  auto own = breaker->allow(now);
  CHECK(own);
  own.success(now);
  CHECK(peer->last_grant == 9);
}

TEST_CASE("a listener that throws changes nothing for the call") {
  auto options = tripping_at_once();
  options.listener = [](const BreakerEvent&) { throw 42; };
  const auto breaker = breaker_of(options);
  fail(*breaker, 0);
  CHECK(breaker->state(0) == BreakerState::open);
}

TEST_CASE("times at both ends overflow nothing") {
  auto options = tripping_at_once();
  options.slow_call_us = second_us;
  const auto breaker = breaker_of(options);
  const std::int64_t late = (std::int64_t{1} << 41) * 1000 - 20 * second_us;
  for (const auto now : {std::int64_t{0}, late}) {
    breaker->reset(now);
    fail(*breaker, now);
    CHECK_FALSE(breaker->allow(now));
    CHECK(breaker->state(now + 10 * second_us) == BreakerState::half_open);
  }
}

TEST_CASE("options out of range are refused by name") {
  struct Row {
    void (*change)(BreakerOptions&);
    std::string named;
  };
  const std::vector<Row> rows = {
      {[](BreakerOptions& o) { o.window = static_cast<BreakerOptions::Window>(2); }, "window is 2"},
      {[](BreakerOptions& o) { o.window_us = 9999; }, "window_us is 9999"},
      {[](BreakerOptions& o) { o.window_calls = 0; }, "window_calls is 0"},
      {[](BreakerOptions& o) { o.window_calls = 1001; }, "window_calls is 1001"},
      {[](BreakerOptions& o) { o.minimum_calls = 0; }, "minimum_calls is 0"},
      {[](BreakerOptions& o) { o.window = BreakerOptions::Window::count, o.window_calls = 5, o.minimum_calls = 6; },
       "minimum_calls is 6"},
      {[](BreakerOptions& o) { o.failure_rate = 0; }, "failure_rate is 0"},
      {[](BreakerOptions& o) { o.failure_rate = 1.01; }, "failure_rate is 1.01"},
      {[](BreakerOptions& o) { o.failure_rate = std::nan(""); }, "failure_rate is nan"},
      {[](BreakerOptions& o) { o.slow_call_us = -1; }, "slow_call_us is -1"},
      {[](BreakerOptions& o) { o.slow_call_us = 999; }, "slow_call_us is 999"},
      {[](BreakerOptions& o) { o.slow_rate = -0.1; }, "slow_rate is -0.1"},
      {[](BreakerOptions& o) { o.open_us = 999; }, "open_us is 999"},
      {[](BreakerOptions& o) { o.max_open_us = o.open_us - 1; }, "max_open_us is"},
      {[](BreakerOptions& o) { o.jitter = 1.5; }, "jitter is 1.5"},
      {[](BreakerOptions& o) { o.jitter = std::nan(""); }, "jitter is nan"},
      {[](BreakerOptions& o) { o.probes = 0; }, "probes is 0"},
      {[](BreakerOptions& o) { o.probes = 17; }, "probes is 17"},
      {[](BreakerOptions& o) { o.probes_to_close = 0; }, "probes_to_close is 0"},
      {[](BreakerOptions& o) { o.probes_to_close = o.probes + 1; }, "probes_to_close is 4"},
      {[](BreakerOptions& o) { o.probe_lease_us = 0; }, "probe_lease_us is 0"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.named);
    BreakerOptions options;
    row.change(options);
    const auto made = CircuitBreaker::create(options);
    REQUIRE(made.has_error());
    CHECK(made.error().status == Status::invalid_argument);
    CHECK(made.error().message.starts_with(row.named));
  }
}
