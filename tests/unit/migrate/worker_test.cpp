#include "migrate/worker.hpp"

#include "base/json.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

using gf::Status;
using gf::migrate::EmbeddedFile;
using gf::migrate::EventType;
using gf::migrate::Outcome;
using gf::migrate::Request;
using gf::migrate::Settings;
using gf::migrate::Work;
using gf::migrate::Worker;
using gf::migrate::WorkEvent;

namespace {

constexpr std::int64_t patience_us = 60'000'000;

std::shared_ptr<Worker> worker_of(const std::vector<EmbeddedFile>& files) {
  Settings settings;
  settings.url = "sqlite::memory:";
  settings.embedded = files;
  return Worker::open(std::move(settings)).value();
}

Request request(Work work) {
  Request made;
  made.work = work;
  return made;
}

std::vector<WorkEvent> events_of(Worker& worker) {
  std::vector<WorkEvent> events;
  while (worker.poll([&](const WorkEvent& event) {
    events.push_back(event);
    return true;
  })) {
  }
  return events;
}

}  // namespace

TEST_CASE("of events that nobody takes, only the newest of a migration's statements is kept") {
  std::string text = "-- gameforge: up\n";
  for (int i = 0; i < 500; ++i) text += "create table t" + std::to_string(i) + " (id int);\n";
  const auto worker = worker_of({{"001_many.sql", text}});
  REQUIRE(worker->start(request(Work::apply)));
  REQUIRE(worker->wait(patience_us).value());
  const auto events = events_of(*worker);
  REQUIRE(events.size() == 5);
  CHECK(events[0].event.type == EventType::checking);
  CHECK(events[1].event.type == EventType::started);
  CHECK(events[1].event.version == 1);
  CHECK(events[2].event.type == EventType::statement);
  CHECK(events[2].event.statement == 500);
  CHECK(events[3].event.type == EventType::finished);
  CHECK(events[4].ended);
  CHECK(worker->close(patience_us));
}

TEST_CASE("an event that is only looked at stays, and the next work begins with none of the last one's") {
  const auto worker = worker_of({{"001_a.sql", "create table a (id int);"}});
  REQUIRE(worker->start(request(Work::plan)));
  REQUIRE(worker->wait(patience_us).value());
  for (int round = 0; round < 3; ++round) {
    CHECK(worker->poll([](const WorkEvent& event) { return !event.ended; }));
  }
  CHECK(events_of(*worker).size() == 1);
  REQUIRE(worker->start(request(Work::apply)));
  REQUIRE(worker->wait(patience_us).value());
  REQUIRE(worker->start(request(Work::status)));
  REQUIRE(worker->wait(patience_us).value());
  const auto events = events_of(*worker);
  REQUIRE(events.size() == 1);
  CHECK(events[0].ended);
  CHECK(events[0].status == Status::ok);
}

TEST_CASE("before the first work there is nothing to wait for, and after close nothing is started") {
  const auto worker = worker_of({});
  CHECK(worker->wait(0).error().status == Status::wrong_state);
  worker->cancel();
  REQUIRE(worker->start(request(Work::apply)));
  REQUIRE(worker->wait(patience_us).value());
  // The wish came before the work.
  CHECK(worker->outcome([](const Outcome& outcome) { return !outcome.error.has_value(); }));
  CHECK(worker->close(0));
  CHECK(worker->start(request(Work::apply)).error().status == Status::shutting_down);
  CHECK(worker->close(0));
}

TEST_CASE("a work that fails keeps its report as far as it came") {
  const auto worker = worker_of({{"001_a.sql", "-- gameforge: up\ncreate table a (id int);\n"},
                                 {"002_b.sql", "-- gameforge: up\ninsert into a values ('x', 'y');\n"}});
  REQUIRE(worker->start(request(Work::apply)));
  REQUIRE(worker->wait(patience_us).value());
  worker->outcome([](const Outcome& outcome) {
    REQUIRE(outcome.error.has_value());
    CHECK(outcome.failure.has_value());
    const auto report = gf::parse_json(outcome.report, "report").value();
    CHECK(report->at("failure").at("file") == "002_b.sql");
    CHECK(report->at("failure").at("line") == 2);
    return 0;
  });
}
