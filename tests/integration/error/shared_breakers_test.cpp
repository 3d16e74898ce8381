// Breakers that processes share through Redis: real servers, real processes, killed and frozen.
#include "error/shared_breakers.hpp"

#include "../queue/redis_server.hpp"
#include "host_process.hpp"
#include "probe_counts.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace gf;
using namespace gf::error;
using gf::test::HostProcess;
using gf::test::RedisServer;

namespace {

std::int64_t now_us() { return system_clock().now_us(); }

bool wait_for(const std::function<bool()>& condition, std::int64_t ms = 20'000) {
  const auto until = now_us() + ms * 1000;
  while (!condition()) {
    if (now_us() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

SharedBreakersOptions sharing(const RedisServer& server, std::uint32_t quorum = 1) {
  SharedBreakersOptions options;
  options.url = server.url();
  options.quorum = quorum;
  options.flush_us = 20'000;
  // A busy machine is no server that is gone; the tests of that ask for less.
  options.command_timeout_us = 20'000'000;
  return options;
}

BreakerOptions quick() {
  BreakerOptions options;
  options.failures_in_a_row = 3;
  options.open_us = 200'000;
  options.jitter = 0;
  options.probe_lease_us = 2'000'000;
  return options;
}

/// One process's side, in this one: what a process has of its own is only the sharing and the breaker.
struct Side {
  explicit Side(const SharedBreakersOptions& options, const BreakerOptions& of = quick(),
                const std::string& name = "service")
      : breaker(CircuitBreaker::create(of).value()), shared(SharedBreakers::open(options).value()) {
    const auto joined = shared->share(breaker, name, 10'000'000);
    REQUIRE_MESSAGE(joined.has_value(), joined.error().message);
  }
  void fail(int times = 3) {
    for (int time = 0; time < times; ++time) {
      if (auto permit = breaker->allow(now_us())) permit.failure(now_us());
    }
  }
  BreakerState state() const { return breaker->state(now_us()); }
  bool comes_to(BreakerState wanted) const {
    return wait_for([&] { return state() == wanted; });
  }

  std::shared_ptr<CircuitBreaker> breaker;
  std::unique_ptr<SharedBreakers> shared;
};

std::vector<std::unique_ptr<HostProcess>> hosts(const RedisServer& server, int count, const std::string& quorum,
                                                const std::string& open_ms, const std::string& probes,
                                                const std::string& to_close, const std::string& lease_ms,
                                                const std::string& timeout_ms = "20000") {
  std::vector<std::unique_ptr<HostProcess>> out;
  for (int index = 0; index < count; ++index) {
    out.push_back(std::make_unique<HostProcess>(std::vector<std::string>{GAMEFORGE_BREAKER_HOST, server.url(), quorum,
                                                                         open_ms, probes, to_close, lease_ms,
                                                                         timeout_ms, server.folder() + "/counts"}));
  }
  for (auto& host : out) REQUIRE(host->hear() == "ready");
  return out;
}

std::int64_t first_number(const std::string& line) { return std::stoll("0" + line.substr(0, line.find(' '))); }
std::int64_t second_number(const std::string& line) { return std::stoll("0" + line.substr(line.find(' ') + 1)); }

}  // namespace

TEST_CASE("four processes see an open within 250 ms at the median, and one that joins sees it at once") {
  RedisServer server;
  std::vector<std::int64_t> seen_us;
  auto processes = hosts(server, 4, "1", "600000", "3", "2", "60000");
  const auto control = SharedBreakers::open(sharing(server)).value();
  for (int round = 0; round < 9; ++round) {
    const auto tripping = static_cast<std::size_t>(round % 4);
    for (std::size_t at = 0; at < 4; ++at) {
      if (at != tripping) processes[at]->tell("await open 20000");
    }
    const auto tripped = first_number(processes[tripping]->ask("trip"));
    for (std::size_t at = 0; at < 4; ++at) {
      if (at == tripping) continue;
      const auto heard = processes[at]->hear();
      REQUIRE(heard != "late");
      seen_us.push_back(std::max<std::int64_t>(first_number(heard) - tripped, 0));
    }
    if (round == 0) {
      const Side joined(sharing(server));
      CHECK(joined.state() == BreakerState::open);
      CHECK(joined.breaker->report(now_us()).open_for_us > 500'000'000);
    }
    REQUIRE(control->force("service", BreakerState::closed, 0, "test").has_value());
    for (auto& process : processes) REQUIRE(process->ask("await closed 20000") != "late");
  }
  std::sort(seen_us.begin(), seen_us.end());
  MESSAGE("seen by the others after ", seen_us[seen_us.size() / 2], " us at the median, ", seen_us.back(), " at most");
  CHECK(seen_us[seen_us.size() / 2] <= 250'000);
}

TEST_CASE("probes are one set for all processes: never more than n are under way, and they close it for all") {
  RedisServer server;
  auto* counts = test::map_counts((server.folder() + "/counts").c_str());
  REQUIRE(counts != nullptr);
  auto processes = hosts(server, 4, "1", "100", "2", "2", "5000");
  for (int round = 0; round < 3; ++round) {
    counts->most = 0;
    processes[0]->ask("trip");
    for (auto& process : processes) REQUIRE(process->ask("await half_open 20000") != "late");
    // Those that say nothing about the service, first: their places come back.
    for (auto& process : processes) process->tell("hammer 400 5000 ignore");
    std::int64_t through = 0;
    for (auto& process : processes) through += first_number(process->hear());
    CHECK(through > 2);
    for (auto& process : processes) process->tell("hammer 20000 5000 ok");
    through = 0;
    for (auto& process : processes) through += first_number(process->hear());
    // Each of two successes was needed, and no process had two of its own to itself.
    CHECK(through == 2);
    CHECK(counts->most >= 1);
    CHECK(counts->most <= 2);
    for (auto& process : processes) REQUIRE(process->ask("await closed 20000") != "late");
  }
}

TEST_CASE("a prober that is killed gives its place back by its lease, and the breaker closes") {
  RedisServer server;
  auto processes = hosts(server, 2, "1", "50", "2", "1", "300");
  processes[0]->ask("trip");
  for (auto& process : processes) REQUIRE(process->ask("await half_open 20000") != "late");
  REQUIRE(wait_for([&] { return processes[0]->ask("hold") == "held"; }));
  processes[0]->kill();
  // Its place is not free yet, the other one is.
  REQUIRE(wait_for([&] { return processes[1]->ask("hold") == "held"; }));
  CHECK(processes[1]->ask("hold") == "refused");
  processes[1]->kill();
  // Both were silent: after their leases of 0.3 s and the second in which a grant may be used they have failed, which
  // is one too many, and the next break is as short as the first.
  auto last = hosts(server, 1, "1", "50", "2", "1", "300");
  CHECK(first_number(last[0]->ask("hammer 20000 1000 ok")) >= 1);
  CHECK(last[0]->ask("await closed 20000") != "late");
}

TEST_CASE("one sick process opens its own breaker alone; a second opens it for all") {
  RedisServer server;
  auto options = sharing(server, 2);
  auto slow_to_open = quick();
  slow_to_open.open_us = 60'000'000;
  std::vector<std::unique_ptr<Side>> sides;
  for (int index = 0; index < 5; ++index) sides.push_back(std::make_unique<Side>(options, slow_to_open));
  sides[0]->fail();
  CHECK(sides[0]->state() == BreakerState::open);
  REQUIRE(sides[0]->shared->flush(10'000'000).has_value());
  CHECK(sides[1]->shared->look("service").value().votes == 1);
  for (int index = 1; index < 5; ++index) {
    REQUIRE(sides[static_cast<std::size_t>(index)]->shared->flush(10'000'000).has_value());
    CHECK(sides[static_cast<std::size_t>(index)]->state() == BreakerState::closed);
  }
  // One that has recovered takes its vote back.
  sides[0]->breaker->reset(now_us());
  REQUIRE(wait_for([&] { return sides[1]->shared->look("service").value().votes == 0; }));
  sides[1]->fail();
  REQUIRE(sides[1]->shared->flush(10'000'000).has_value());
  CHECK(sides[2]->state() == BreakerState::closed);
  sides[3]->fail();
  for (const auto& side : sides) CHECK(side->comes_to(BreakerState::open));
  const auto state = sides[4]->shared->look("service").value();
  CHECK(state.state == BreakerState::open);
  CHECK(state.reason == "quorum");
  CHECK(state.votes == 0);
}

TEST_CASE("twenty that join an open breaker do not move its end") {
  RedisServer server;
  auto of = quick();
  of.open_us = 60'000'000;
  Side first(sharing(server), of);
  first.fail();
  REQUIRE(first.shared->flush(10'000'000).has_value());
  const auto before = first.shared->look("service").value();
  REQUIRE(before.state == BreakerState::open);
  const auto at = now_us();
  std::vector<std::unique_ptr<Side>> joining;
  for (int index = 0; index < 20; ++index) joining.push_back(std::make_unique<Side>(sharing(server), of));
  for (const auto& side : joining) CHECK(side->state() == BreakerState::open);
  const auto after = first.shared->look("service").value();
  CHECK(after.generation == before.generation);
  // By the server's clock and this one's, which run alike.
  CHECK(std::abs((before.left_us - after.left_us) - (now_us() - at)) < 2'000'000);
}

TEST_CASE("a vote of an older generation opens nothing, and is cast again for the present one") {
  RedisServer server;
  auto of = quick();
  of.open_us = 60'000'000;
  Side one(sharing(server), of);
  Side other(sharing(server), of);
  for (int round = 0; round < 5; ++round) {
    // Both trip at once: one opens it, the other's vote is late; there is one break, not two.
    const auto before = one.shared->look("service").value().generation;
    one.fail();
    other.fail();
    REQUIRE(one.comes_to(BreakerState::open));
    REQUIRE(one.shared->flush(10'000'000).has_value());
    REQUIRE(other.shared->flush(10'000'000).has_value());
    CHECK(one.shared->look("service").value().generation == before + 1);
    REQUIRE(one.shared->force("service", BreakerState::closed, 0, "test").has_value());
    REQUIRE(one.comes_to(BreakerState::closed));
    REQUIRE(other.comes_to(BreakerState::closed));
  }
}

TEST_CASE("counts of calls are sent together, are exact, and a closed call costs no command") {
  RedisServer server;
  constexpr int processes = 8;
  std::vector<std::unique_ptr<HostProcess>> running = hosts(server, processes, "2", "1000", "3", "2", "60000");
  for (auto& process : running) process->tell("calls 10000 ok");
  for (auto& process : running) CHECK(first_number(process->hear()) == 10'000);
  for (auto& process : running) CHECK(process->ask("flush") == "flushed");
  const auto control = SharedBreakers::open(sharing(server)).value();
  CHECK(control->look("service").value().successes == 10'000u * processes);
  for (auto& process : running) {
    // A look at the start and the rounds of flush(); not one for each of ten thousand calls.
    CHECK(first_number(process->ask("turns")) < 60);
  }
}

TEST_CASE("without a server calls go on at once, and a failing service still trips the process's own breaker") {
  RedisServer server;
  auto processes = hosts(server, 1, "1", "300", "2", "1", "5000", "300");
  auto& process = *processes[0];
  const auto calls_go_on = [&] {
    // 20,000 calls, none of which waits for a server: what one may lose is its turn on a busy machine.
    const auto done = process.ask("calls 20000 ok");
    CHECK(first_number(done) == 20'000);
    CHECK(second_number(done) < 200'000);
    process.ask("trip");
    CHECK(process.ask("state") == "open");
    // Probes are its own again, as soon as the server was found gone.
    CHECK(first_number(process.ask("hammer 20000 1000 ok")) >= 1);
    CHECK(process.ask("await closed 20000") != "late");
  };
  SUBCASE("killed") {
    server.kill();
    calls_go_on();
    server.start();
  }
  SUBCASE("frozen") {
    server.freeze();
    calls_go_on();
    server.thaw();
  }
  SUBCASE("frozen while it is open for all") {
    process.ask("trip");
    REQUIRE(process.ask("flush") == "flushed");
    server.freeze();
    CHECK(first_number(process.ask("hammer 20000 1000 ok")) >= 1);
    CHECK(process.ask("await closed 20000") != "late");
    server.thaw();
  }
  // And they find each other again.
  CHECK(wait_for([&] { return process.ask("linked") == "yes"; }));
}

TEST_CASE("a server that was restarted empty means closed, and the next trip is told again") {
  RedisServer server;
  auto of = quick();
  of.open_us = 60'000'000;
  auto options = sharing(server);
  options.look_every_us = 200'000;
  options.command_timeout_us = 300'000;
  Side one(options, of);
  Side other(options, of);
  one.fail();
  REQUIRE(other.comes_to(BreakerState::open));
  SUBCASE("flushed") { REQUIRE(redis::Client::create(server.url()).value()->call({"FLUSHALL"}).has_value()); }
  SUBCASE("restarted") {
    server.kill();
    server.start();
  }
  CHECK(other.comes_to(BreakerState::closed));
  CHECK(one.comes_to(BreakerState::closed));
  other.fail();
  CHECK(one.comes_to(BreakerState::open));
}

TEST_CASE("what is forced is forced for all, with a name and an end, or refused") {
  RedisServer server;
  auto options = sharing(server);
  options.stale_us = 1'000'000;
  options.command_timeout_us = 300'000;
  Side one(options);
  Side other(options);
  for (const auto state : {BreakerState::forced_open, BreakerState::forced_closed, BreakerState::disabled}) {
    REQUIRE(one.shared->force("service", state, 60'000'000, "ann").has_value());
    CHECK(one.comes_to(state));
    CHECK(other.comes_to(state));
    CHECK(other.shared->look("service").value().by == "ann");
  }
  // One that joins later too.
  CHECK(Side(options).state() == BreakerState::disabled);
  REQUIRE(one.shared->force("service", BreakerState::forced_open, 1'000'000, "bob").has_value());
  CHECK(one.comes_to(BreakerState::forced_open));
  // It ends by itself, on the server and in both.
  CHECK(one.comes_to(BreakerState::closed));
  CHECK(other.comes_to(BreakerState::closed));
  CHECK(one.shared->look("service").value().state == BreakerState::closed);
  REQUIRE(one.shared->force("service", BreakerState::forced_open, 3600'000'000, "eve").has_value());
  CHECK(other.comes_to(BreakerState::forced_open));
  server.kill();
  // Nothing is kept for later: without a server it is refused, and what was shared is forgotten when it is stale.
  CHECK(one.shared->force("service", BreakerState::disabled, 60'000'000, "ann").has_error());
  CHECK(other.comes_to(BreakerState::closed));
  CHECK(one.comes_to(BreakerState::closed));
  server.start();
  CHECK(wait_for([&] { return one.shared->statistics().linked; }));
  CHECK(one.state() == BreakerState::closed);
  CHECK(one.shared->force("", BreakerState::disabled, 60'000'000, "ann").error().status == Status::invalid_argument);
  CHECK(one.shared->force("service", BreakerState::open, 60'000'000, "ann").error().status == Status::invalid_argument);
  CHECK(one.shared->force("service", BreakerState::disabled, 1, "ann").error().status == Status::invalid_argument);
  CHECK(one.shared->force("service", BreakerState::disabled, 60'000'000, "").error().status ==
        Status::invalid_argument);
}

TEST_CASE("keys of a later version, and somebody else's, are refused by name, and the breaker goes on alone") {
  RedisServer server;
  const auto client = redis::Client::create(server.url()).value();
  const auto refused = [&](Status status) {
    const auto breaker = CircuitBreaker::create(quick()).value();
    const auto shared = SharedBreakers::open(sharing(server)).value();
    const auto joined = shared->share(breaker, "service", 10'000'000);
    REQUIRE(joined.has_error());
    CHECK(joined.error().status == status);
    CHECK(joined.error().message.find("{gameforge:breakers}:") != std::string::npos);
    for (int time = 0; time < 3; ++time) breaker->allow(now_us()).failure(now_us());
    CHECK(breaker->state(now_us()) == BreakerState::open);
    REQUIRE(shared->flush(10'000'000).has_value());
    CHECK(shared->look("service").error().status == status);
    CHECK(shared->force("service", BreakerState::disabled, 60'000'000, "ann").error().status == status);
    REQUIRE(client->call({"FLUSHALL"}).has_value());
  };
  REQUIRE(client->call({"HSET", "{gameforge:breakers}:state:service", "schema", "2", "state", "9"}).has_value());
  refused(Status::schema_too_new);
  REQUIRE(client->call({"HSET", "{gameforge:breakers}:state:service", "colour", "blue"}).has_value());
  refused(Status::wrong_state);
  REQUIRE(client->call({"SET", "{gameforge:breakers}:votes:service", "x"}).has_value());
  refused(Status::wrong_state);
  REQUIRE(client->call({"SET", "{gameforge:breakers}:changes", "x"}).has_value());
  refused(Status::wrong_state);
}

TEST_CASE("every key ends by itself, and no earlier than its state") {
  RedisServer server;
  auto of = quick();
  of.open_us = 3 * 86'400'000'000;
  of.max_open_us = of.open_us;
  Side one(sharing(server), of);
  Side other(sharing(server, 5), quick(), "other");
  one.fail();
  other.fail();
  REQUIRE(one.shared->flush(10'000'000).has_value());
  REQUIRE(other.shared->flush(10'000'000).has_value());
  const auto client = redis::Client::create(server.url()).value();
  const auto keys = client->call({"KEYS", "*"}).value();
  CHECK(keys.items.size() >= 5);
  for (const auto& key : keys.items) {
    CAPTURE(key.text);
    CHECK(key.text.starts_with("{gameforge:breakers}:"));
    CHECK(client->call({"PTTL", key.text}).value().integer > 0);
  }
  CHECK(client->call({"PTTL", "{gameforge:breakers}:state:service"}).value().integer > 3 * 86'400'000);
}

TEST_CASE("a process that does nothing wakes a few times a minute") {
  RedisServer server;
  auto options = sharing(server);
  Side side(options);
  side.breaker->allow(now_us()).success(now_us());
  REQUIRE(side.shared->flush(10'000'000).has_value());
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto before = side.shared->statistics();
  std::this_thread::sleep_for(std::chrono::seconds(2));
  const auto after = side.shared->statistics();
  CHECK(after.wake_ups - before.wake_ups <= 2);
  CHECK(after.commands == before.commands);
}

TEST_CASE("options, names and a second sharing are refused; closing never waits for a server that hangs") {
  RedisServer server;
  const auto refused = [&](auto&& change) {
    auto options = sharing(server);
    change(options);
    const auto opened = SharedBreakers::open(options);
    REQUIRE(opened.has_error());
    CHECK(opened.error().status == Status::invalid_argument);
  };
  refused([](auto& options) { options.quorum = 0; });
  refused([](auto& options) { options.vote_us = 1; });
  refused([](auto& options) { options.command_timeout_us = 1; });
  refused([](auto& options) { options.stale_us = 1; });
  refused([](auto& options) { options.flush_us = 1; });
  refused([](auto& options) { options.look_every_us = 1; });
  refused([](auto& options) { options.name_space = "a{b}"; });
  refused([](auto& options) { options.url = "nowhere"; });
  Side side(sharing(server));
  CHECK(side.shared->share(side.breaker, "again", 0).error().status == Status::already_exists);
  const auto other = CircuitBreaker::create(quick()).value();
  CHECK(side.shared->share(other, "", 0).error().status == Status::invalid_argument);
  CHECK(side.shared->share(other, std::string(201, 'x'), 0).error().status == Status::invalid_argument);
  CHECK(side.shared->share(other, "other", -1).error().status == Status::invalid_argument);
  server.freeze();
  const auto before = now_us();
  CHECK(side.shared->share(other, "other", 50'000).error().status == Status::timed_out);
  CHECK(side.shared->flush(50'000).error().status == Status::timed_out);
  side.shared->close(50'000);
  CHECK(now_us() - before < 5'000'000);
  server.thaw();
  CHECK(side.shared->share(CircuitBreaker::create(quick()).value(), "late", 0).error().status == Status::wrong_state);
  side.fail();
  CHECK(side.state() == BreakerState::open);
}
