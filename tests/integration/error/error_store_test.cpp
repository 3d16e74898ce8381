// Errors and log lines of several processes in Redis: real servers, killed, frozen and restarted.
#include "error/error_store.hpp"
#include "error/logger.hpp"
#include "error/redis_log_output.hpp"

#include "../queue/redis_server.hpp"

#include "base/json.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace gf;
using namespace gf::error;
using gf::test::RedisServer;

namespace {

constexpr std::int64_t second_us = 1'000'000;
constexpr std::int64_t long_us = 20 * second_us;

std::int64_t now_us() { return system_clock().now_us(); }

std::unique_ptr<ErrorStore> store_of(const RedisServer& server, const std::string& process = {},
                                     const std::function<void(ErrorStoreOptions&)>& change = {}) {
  ErrorStoreOptions options;
  options.url = server.url();
  options.process = process;
  options.batch.linger_us = 1000;
  if (change) change(options);
  auto opened = ErrorStore::open(options);
  REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
  return std::move(opened).value();
}

Json json_of(Result<std::string> text) {
  REQUIRE_MESSAGE(text.has_value(), text.error().message);
  return Json::parse(text.value());
}

Error disk_full(const std::string& message) {
  Error inner{Status::disk_full, message, {}};
  inner.foreign = {ForeignCode::Domain::system, 28};
  return wrap(std::move(inner), Status::io_error, "the asset was not stored").with("asset", "potion.png");
}

}  // namespace

TEST_CASE("errors of two processes are one group, with its counts, times, sample and who had how many") {
  RedisServer server;
  const auto one = store_of(server, "one");
  const auto other = store_of(server, "other");
  const auto before_us = system_clock().unix_us();
  for (int index = 0; index < 30; ++index) {
    CHECK(one->record(disk_full("no space on /mnt/" + std::to_string(index)), {"sd15", "ann", "cpu"}));
  }
  for (int index = 0; index < 12; ++index) CHECK(other->record(disk_full("no space"), {}));
  CHECK(other->record({Status::not_found, "no model x", {}}, {}));
  CHECK(one->record_text("driver", "device 3 lost at 0x7f3a", Severity::fatal, {}));
  CHECK(other->record_text("driver", "device 5 lost at 0x1234", Severity::warning, {}));
  REQUIRE(one->flush(long_us).has_value());
  REQUIRE(other->flush(long_us).has_value());
  const auto after_us = system_clock().unix_us();

  for (const auto window : {60 * second_us, 24 * 3600 * second_us}) {
    const auto top = json_of(one->top_json(window, 10));
    CHECK(top.at("errors") == 45);
    CHECK(top.at("lost") == 0);
    REQUIRE(top.at("groups").size() == 3);
    CHECK(top.at("groups")[0].at("in_window") == 42);
    CHECK(top.at("groups")[0].at("total") == 42);
    CHECK(top.at("groups")[0].at("processes") == 2);
    CHECK(top.at("groups")[0].at("name") == "io_error");
    CHECK(top.at("groups")[1].at("in_window") == 2);
    CHECK(top.at("groups")[1].at("severity") == "fatal");
    CHECK(top.at("groups")[1].at("title") == "device # lost at #");
  }
  CHECK(json_of(one->top_json(60 * second_us, 1)).at("groups").size() == 1);

  const auto fingerprint =
      json_of(one->top_json(60 * second_us, 1)).at("groups")[0].at("fingerprint").get<std::string>();
  const auto group = json_of(other->show_json(std::stoull(fingerprint, nullptr, 16)));
  CHECK(group.at("by_process").at("one") == 30);
  CHECK(group.at("by_process").at("other") == 12);
  CHECK(group.at("by_severity").at("error") == 42);
  CHECK(group.at("sample").at("message") == "the asset was not stored");
  CHECK(group.at("sample").at("causes")[0].at("name") == "disk_full");
  CHECK(group.at("sample").at("causes")[0].at("foreign").at("number") == 28);
  CHECK(group.at("sample").at("context").at("asset") == "potion.png");
  // The server's clock is this machine's; a batch takes its time.
  CHECK(group.at("first_us").get<std::int64_t>() >= before_us - second_us);
  CHECK(group.at("last_us").get<std::int64_t>() <= after_us + second_us);
  CHECK(group.at("first_us").get<std::int64_t>() <= group.at("last_us").get<std::int64_t>());
  CHECK(other->show_json(12345).error().status == Status::not_found);
}

TEST_CASE("the tail gives each error once, in order, and waits for what is still to come") {
  RedisServer server;
  const auto store = store_of(server, "one");
  const auto empty = json_of(store->tail_json("", 10, 0));
  CHECK(empty.at("errors").empty());
  CHECK(empty.at("next") == "0-0");
  for (int index = 0; index < 25; ++index) {
    CHECK(store->record(Error{Status::not_found, "no " + std::to_string(index), {}}, {}));
  }
  REQUIRE(store->flush(long_us).has_value());
  std::string next = "0-0";
  int seen = 0;
  for (;;) {
    const auto page = json_of(store->tail_json(next, 10, 0));
    if (page.at("errors").empty()) break;
    for (const auto& each : page.at("errors")) {
      CHECK(each.at("error").at("message") == "no " + std::to_string(seen++));
    }
    next = page.at("next").get<std::string>();
  }
  CHECK(seen == 25);
  const auto newest = json_of(store->tail_json("", 3, 0));
  CHECK(newest.at("errors").size() == 3);
  CHECK(newest.at("errors")[2].at("error").at("message") == "no 24");
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    store->record(Error{Status::io_error, "late", {}}, {});
  });
  const auto waited = json_of(store->tail_json(next, 10, long_us));
  later.join();
  REQUIRE(waited.at("errors").size() == 1);
  CHECK(waited.at("errors")[0].at("error").at("message") == "late");
  CHECK(store->tail_json("yesterday", 10, 0).error().status == Status::invalid_argument);
  CHECK(store->tail_json("", 0, 0).error().status == Status::invalid_argument);
  CHECK(store->tail_json("", 10, -1).error().status == Status::invalid_argument);
  CHECK(store->top_json(0, 10).error().status == Status::invalid_argument);
  CHECK(store->top_json(second_us, 1001).error().status == Status::invalid_argument);
}

TEST_CASE("secrets are masked before they leave the process") {
  RedisServer server;
  const auto store = store_of(server);
  Error inner{Status::network_error, "redis://user:hunter2@host/0 refused", {}};
  store->record(wrap(std::move(inner), Status::redis_error, "password=hunter2 is wrong").with("token", "hunter2"),
                {"hunter", "api_key: hunter2", {}});
  store->record_text("driver", "login with password=hunter2 failed", Severity::error, {});
  REQUIRE(store->flush(long_us).has_value());
  const auto client = redis::Client::create(server.url()).value();
  for (const auto& text :
       {store->tail_json("", 10, 0).value(), store->top_json(second_us * 60, 10).value(),
        store
            ->show_json(std::stoull(
                json_of(store->top_json(second_us * 60, 1)).at("groups")[0].at("fingerprint").get<std::string>(),
                nullptr, 16))
            .value()}) {
    CHECK(text.find("hunter2") == std::string::npos);
    CHECK(text.find("***") != std::string::npos);
  }
  // Nor in any key's value.
  const auto keys = client->call({"KEYS", "*"}).value();
  CHECK(keys.items.size() > 5);
  for (const auto& key : keys.items) {
    CAPTURE(key.text);
    CHECK(client->call({"DUMP", key.text}).value().text.find("hunter2") == std::string::npos);
  }
}

TEST_CASE(
    "without a server recording never waits, what there is room for arrives later, and the rest is counted and told") {
  RedisServer server;
  const auto store = store_of(server, "one", [](auto& options) {
    options.batch.most_items = 100;
    options.command_timeout_us = 100'000;
  });
  store->record({Status::io_error, "before", {}}, {});
  REQUIRE(store->flush(long_us).has_value());
  std::function<void()> back;
  SUBCASE("killed") {
    server.kill();
    back = [&] { server.start(); };
  }
  SUBCASE("frozen") {
    server.freeze();
    back = [&] { server.thaw(); };
  }
  int taken = 0;
  std::int64_t longest_us = 0;
  for (int index = 0; index < 5000; ++index) {
    const auto begun = now_us();
    if (store->record({Status::io_error, "meanwhile", {}}, {})) ++taken;
    longest_us = std::max(longest_us, now_us() - begun);
  }
  // A copy; what it may lose is its turn on a busy machine.
  CHECK(longest_us < 200'000);
  CHECK(taken < 5000);
  CHECK(store->statistics().lost == static_cast<std::uint64_t>(5000 - taken));
  CHECK(store->flush(50'000).error().status == Status::timed_out);
  back();
  REQUIRE(store->flush(long_us).has_value());
  const auto top = json_of(store->top_json(60 * second_us, 10));
  CHECK(top.at("errors").get<std::int64_t>() >= taken - 1);
  CHECK(top.at("errors").get<std::int64_t>() + top.at("lost").get<std::int64_t>() >= 4999);
  bool told = false;
  const auto tail = json_of(store->tail_json("", 1000, 0));
  for (const auto& each : tail.at("errors")) told = told || each.contains("lost");
  CHECK(told);
}

TEST_CASE("a batch that is sent again is counted once") {
  RedisServer server;
  const auto store = store_of(server, "one", [](auto& options) {
    options.command_timeout_us = 100'000;
    options.batch.batch_items = 50;
  });
  // The server stops again and again while batches are on their way: some arrive, and their answers do not.
  std::atomic<bool> over{false};
  std::thread freezer([&] {
    while (!over.load()) {
      server.freeze();
      std::this_thread::sleep_for(std::chrono::milliseconds(130));
      server.thaw();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  std::uint64_t taken = 0;
  for (int index = 0; index < 2000; ++index) {
    if (store->record({Status::io_error, "again", {}}, {})) ++taken;
    if (index % 50 == 49) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  over = true;
  freezer.join();
  REQUIRE(store->flush(long_us).has_value());
  const auto top = json_of(store->top_json(3600 * second_us, 10));
  CHECK(top.at("errors") == taken);
  CHECK(top.at("groups")[0].at("total") == taken);
  CHECK(redis::Client::create(server.url()).value()->call({"XLEN", "{gameforge:errors}:tail"}).value().integer ==
        static_cast<std::int64_t>(taken));
}

TEST_CASE("everything is bounded: the tail, the groups, the buckets; and every key ends by itself") {
  RedisServer server;
  const auto store = store_of(server, "one", [](auto& options) {
    options.kept_errors = 100;
    options.group_limit = 50;
    options.batch.most_items = 100'000;
    options.batch.most_bytes = 1u << 26;
  });
  for (int index = 0; index < 3000; ++index) {
    Error error{Status::io_error, "x", {}};
    error.foreign = {ForeignCode::Domain::system, index % 300};
    REQUIRE(store->record(error, {}));
  }
  REQUIRE(store->flush(long_us).has_value());
  const auto client = redis::Client::create(server.url()).value();
  const auto keys = client->call({"KEYS", "*"}).value();
  int groups = 0;
  for (const auto& key : keys.items) {
    CAPTURE(key.text);
    CHECK(key.text.starts_with("{gameforge:errors}:"));
    CHECK(client->call({"PTTL", key.text}).value().integer > 0);
    if (key.text.find(":group:") != std::string::npos) ++groups;
  }
  CHECK(groups <= 50);
  // MAXLEN ~ keeps whole nodes of the stream, of a hundred entries.
  CHECK(client->call({"XLEN", "{gameforge:errors}:tail"}).value().integer <= 300);
  const auto top = json_of(store->top_json(60 * second_us, 1000));
  CHECK(top.at("errors") == 3000);
  CHECK(top.at("groups").size() <= 50);
  CHECK(top.at("other").get<std::int64_t>() > 0);
  CHECK(top.at("evicted_groups").get<std::int64_t>() > 0);
}

TEST_CASE("keys of a later version, and somebody else's, are refused by name") {
  RedisServer server;
  const auto client = redis::Client::create(server.url()).value();
  const auto refused = [&](Status status) {
    const auto store = store_of(server);
    store->record({Status::io_error, "x", {}}, {});
    CHECK(store->flush(long_us).error().status == status);
    store->close(0);
    REQUIRE(client->call({"FLUSHALL"}).has_value());
  };
  REQUIRE(client->call({"HSET", "{gameforge:errors}:meta", "schema", "2"}).has_value());
  CHECK(store_of(server)->top_json(second_us, 1).error().status == Status::schema_too_new);
  CHECK(store_of(server)->tail_json("", 1, 0).error().status == Status::schema_too_new);
  refused(Status::schema_too_new);
  REQUIRE(client->call({"HSET", "{gameforge:errors}:meta", "colour", "blue"}).has_value());
  CHECK(store_of(server)->show_json(1).error().status == Status::wrong_state);
  refused(Status::wrong_state);
  REQUIRE(client->call({"SET", "{gameforge:errors}:meta", "x"}).has_value());
  CHECK(store_of(server)->show_json(1).error().status == Status::wrong_state);
  refused(Status::wrong_state);
  REQUIRE(client->call({"SET", "{gameforge:errors}:tail", "x"}).has_value());
  refused(Status::wrong_state);
}

TEST_CASE("an aggregator hands on what it takes, and while nothing comes nobody wakes") {
  RedisServer server;
  std::shared_ptr<ErrorStore> store = store_of(server);
  AggregatorOptions options;
  options.observer = store;
  const auto aggregator = ErrorAggregator::create(options, 0).value();
  for (int index = 0; index < 7; ++index) aggregator->record(gf::Error{Status::io_error, "x", {}}, {}, index);
  aggregator->record_text("driver", "device lost", Severity::error, {}, 8);
  REQUIRE(store->flush(long_us).has_value());
  const auto top = json_of(store->top_json(60 * second_us, 10));
  CHECK(top.at("errors") == 8);
  // The same groups under the same numbers.
  for (const auto& group : top.at("groups")) {
    const auto fingerprint = std::stoull(group.at("fingerprint").get<std::string>(), nullptr, 16);
    const auto own = aggregator->find(fingerprint, 9);
    REQUIRE(own.has_value());
    CHECK(own->total == group.at("total").get<std::uint64_t>());
  }
  const auto before = store->statistics().wake_ups;
  std::this_thread::sleep_for(std::chrono::seconds(1));
  CHECK(store->statistics().wake_ups == before);
}

TEST_CASE("log lines of a logger come into the stream in order, once, masked; and losses are told") {
  RedisServer server;
  RedisLogOutputOptions options;
  options.url = server.url();
  options.process = "one";
  options.batch.linger_us = 1000;
  options.batch.most_items = 200;
  options.command_timeout_us = 100'000;
  const std::shared_ptr<RedisLogOutput> output = RedisLogOutput::open(options).value();
  LoggerOptions wanted;
  wanted.outputs = {output};
  wanted.repeats_per_s = 0;
  const auto logger = Logger::open(wanted).value();
  const auto client = redis::Client::create(server.url()).value();
  const auto lines = [&] {
    std::vector<Json> out;
    const auto all = client->call({"XRANGE", "{gameforge:log}:lines", "-", "+"}).value();
    for (const auto& entry : all.items) {
      CHECK(entry.items[1].items[1].text == "one");
      out.push_back(Json::parse(entry.items[1].items[3].text));
    }
    return out;
  };
  for (int index = 0; index < 100; ++index) {
    logger->write(LogLevel::info, "torch", "step " + std::to_string(index) + " password=hunter2\nsecond");
  }
  REQUIRE(logger->flush(long_us).has_value());
  REQUIRE(output->drain(long_us).has_value());
  auto seen = lines();
  REQUIRE(seen.size() == 100);
  for (int index = 0; index < 100; ++index) {
    const auto message = seen[static_cast<std::size_t>(index)].at("message").get<std::string>();
    CHECK(message.starts_with("step " + std::to_string(index) + " "));
    CHECK(message.find("hunter2") == std::string::npos);
  }
  CHECK(client->call({"PTTL", "{gameforge:log}:lines"}).value().integer > 0);
  server.freeze();
  // More than there is room for; no call of the logger waits for the server.
  for (int index = 0; index < 1000; ++index) logger->write(LogLevel::info, "torch", "while it hangs");
  const auto begun = now_us();
  REQUIRE(logger->flush(long_us).has_value());
  CHECK(now_us() - begun < long_us);
  const auto lost = output->statistics().lost;
  // All but what waits and one batch that is on its way.
  CHECK(lost >= 600);
  server.thaw();
  REQUIRE(output->drain(long_us).has_value());
  std::uint64_t told = 0;
  std::uint64_t arrived = 0;
  for (const auto& line : lines()) {
    if (line.at("message") == "while it hangs") ++arrived;
    if (line.at("module") == "log") told += line.at("dropped").get<std::uint64_t>();
  }
  CHECK(arrived + lost == 1000);
  CHECK(told == lost);
  REQUIRE(logger->close(long_us).has_value());
  output->close(long_us);
}

TEST_CASE("closing sends the rest, and waits for a server that hangs no longer than it is told to") {
  RedisServer server;
  {
    const auto store = store_of(server, "one", [](auto& options) { options.batch.linger_us = 10 * second_us; });
    for (int index = 0; index < 300; ++index) store->record({Status::io_error, "x", {}}, {});
    store->close(long_us);
    CHECK(store->statistics().sent == 300);
    CHECK_FALSE(store->record({Status::io_error, "late", {}}, {}));
  }
  const auto store = store_of(server);
  server.freeze();
  for (int index = 0; index < 30; ++index) store->record({Status::io_error, "y", {}}, {});
  const auto begun = now_us();
  store->close(100'000);
  CHECK(now_us() - begun < 5 * second_us);
  CHECK(store->statistics().lost == 30);
  server.thaw();
}

TEST_CASE("options out of range are refused by name") {
  const auto refused = [](const std::function<void(ErrorStoreOptions&)>& change) {
    ErrorStoreOptions options;
    options.url = "redis://127.0.0.1:1";
    change(options);
    const auto opened = ErrorStore::open(options);
    REQUIRE(opened.has_error());
    CHECK(opened.error().status == Status::invalid_argument);
  };
  refused([](auto& options) { options.kept_errors = 0; });
  refused([](auto& options) { options.group_limit = 0; });
  refused([](auto& options) { options.kept_us = 1; });
  refused([](auto& options) { options.command_timeout_us = 1; });
  refused([](auto& options) { options.process = std::string(101, 'x'); });
  refused([](auto& options) { options.name_space = "{}"; });
  refused([](auto& options) { options.url = "x"; });
  RedisLogOutputOptions log;
  log.url = "redis://127.0.0.1:1";
  log.kept_lines = 0;
  CHECK(RedisLogOutput::open(log).error().status == Status::invalid_argument);
}
