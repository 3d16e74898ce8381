// Queues and rate limiters through the C ABI and gameforge.hpp, in this process and on a real Redis server. What a
// queue does is the room's to test, on both: here is tested that all of it can be reached, and comes out as it went in.
#include "support.hpp"

#include "gameforge/gameforge.hpp"
#include "queue/redis_server.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using gameforge::JobId;
using gameforge::Queue;
using gameforge::QueueFilter;
using gameforge::QueueJob;
using gameforge::QueueJobs;
using gameforge::QueueOptions;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

/// Where a queue is: in this process, or in a server of the tests' own, each time under a name of its own.
struct Site {
  explicit Site(gf::test::RedisServer* of = nullptr) : server(of) {}
  QueueOptions options() const {
    static std::atomic<int> count{0};
    QueueOptions options;
    if (server != nullptr) options.redis_url = server->url();
    options.name = "queue" + std::to_string(++count);
    return options;
  }
  gf::test::RedisServer* server;
};

gf::test::RedisServer& redis() {
  static gf::test::RedisServer one;
  return one;
}

#define BOTH(name, function)                                       \
  TEST_CASE("in this process: " name) { function(Site(nullptr)); } \
  TEST_CASE("in Redis: " name) { function(Site(&redis())); }

gf_status status_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const gameforge::Error& error) {
    return error.status();
  }
  return GF_OK;
}

QueueFilter in_state(gf_queue_state state) {
  QueueFilter filter;
  filter.state = state;
  return filter;
}

/// Nothing is lost: the sum that the header promises.
void check_sum(const Queue& queue) {
  const auto f = queue.statistics();
  CHECK(f.accepted == f.waiting[0] + f.waiting[1] + f.waiting[2] + f.delayed + f.running + f.done + f.cancelled +
                          f.expired + f.dead + f.removed);
}

void whole_life(const Site& site) {
  Queue queue(site.options());
  QueueJob job;
  job.payload = std::string("a red\0potion", 12);
  job.user = "ann";
  job.content_type = "text/plain";
  job.tags = {"tile", "rush"};
  job.priority = GF_PRIORITY_HIGH;
  job.idempotency_key = "once";
  job.max_attempts = 2;
  job.retry_base = std::chrono::microseconds(1);
  const auto put_in = queue.enqueue(job);
  CHECK(put_in.status == GF_OK);
  CHECK_FALSE(put_in.duplicate);
  CHECK(put_in.state == GF_QUEUE_WAITING);
  const auto again = queue.enqueue(job);
  CHECK(again.duplicate);
  CHECK(again.id == put_in.id);
  CHECK(queue.user_statistics("ann") == std::pair<std::uint64_t, std::uint64_t>(1, 0));

  // The first run fails and is tried again; the second is released and comes back; the third fails for good.
  auto taken = queue.reserve(5, "worker 1", seconds(5));
  REQUIRE(taken.size() == 1);
  auto info = taken.info(0);
  CHECK(info.key.job.high == put_in.id.id.high);
  CHECK(info.key.fencing_token == 1);
  CHECK(info.state == GF_QUEUE_RUNNING);
  CHECK(info.priority == GF_PRIORITY_HIGH);
  CHECK(info.attempt == 1);
  CHECK(info.tag_count == 2);
  CHECK(info.payload_bytes == 12);
  CHECK(info.lease_expires_us > info.enqueued_us);
  CHECK(taken.payload(0) == job.payload);
  CHECK(taken.text(0, GF_QUEUE_TEXT_USER) == "ann");
  CHECK(taken.text(0, GF_QUEUE_TEXT_CONTENT_TYPE) == "text/plain");
  CHECK(taken.text(0, GF_QUEUE_TEXT_TAG, 1) == "rush");
  CHECK(taken.text(0, GF_QUEUE_TEXT_WORKER) == "worker 1");
  CHECK(status_of([&] { taken.text(0, GF_QUEUE_TEXT_TAG, 2); }) == GF_ERR_NOT_FOUND);
  const auto first = info.key;
  CHECK_FALSE(queue.extend(first, seconds(60)));
  CHECK(status_of([&] { queue.hold_state(first); }) == GF_ERR_NOT_FOUND);
  queue.hold(first);
  CHECK(queue.hold_state(first) == GF_LEASE_HELD);
  queue.report_progress(first, 3, 20, "step 3");
  auto read = queue.get(put_in.id);
  REQUIRE(read.size() == 1);
  CHECK(read.info(0).progress_done == 3);
  CHECK(read.info(0).progress_total == 20);
  CHECK(read.text(0, GF_QUEUE_TEXT_PROGRESS_NOTE) == "step 3");
  CHECK(read.text(0, GF_QUEUE_TEXT_IDEMPOTENCY_KEY) == "once");
  CHECK(read.payload(0) == job.payload);
  CHECK(json::parse(read.json(0)).at("progress").at("note") == "step 3");
  const auto failed = queue.fail(first, GF_ERR_IO, "the disk went away", GF_FAILURE_RETRY);
  CHECK((failed.state == GF_QUEUE_WAITING || failed.state == GF_QUEUE_DELAYED));
  // It ended, so nobody keeps its lease any more.
  CHECK(status_of([&] { queue.hold_state(first); }) == GF_ERR_NOT_FOUND);
  CHECK(status_of([&] { queue.hold(first); }) == GF_ERR_LEASE_LOST);

  taken = queue.reserve(1, "worker 2", seconds(5));
  REQUIRE(taken.size() == 1);
  const auto second = taken.key(0);
  CHECK(second.fencing_token == 2);
  CHECK(taken.info(0).attempt == 2);
  // Who held it before can change nothing.
  CHECK(status_of([&] { queue.complete(first); }) == GF_ERR_LEASE_LOST);
  CHECK(status_of([&] { queue.extend(first); }) == GF_ERR_LEASE_LOST);
  CHECK(status_of([&] { queue.fail(first, GF_ERR_IO); }) == GF_ERR_LEASE_LOST);
  CHECK(status_of([&] { queue.release_lease(first); }) == GF_ERR_LEASE_LOST);
  CHECK(queue.release_lease(second).state == GF_QUEUE_WAITING);

  taken = queue.reserve(1, "worker 3", seconds(5));
  REQUIRE(taken.size() == 1);
  CHECK(queue.fail(taken.key(0), GF_ERR_IO, "and stayed away", GF_FAILURE_RETRY).state == GF_QUEUE_DEAD);
  read = queue.get(put_in.id);
  info = read.info(0);
  CHECK(info.state == GF_QUEUE_DEAD);
  CHECK(info.failures == 2);
  CHECK(info.crashes == 1);
  CHECK(info.end_status == GF_ERR_IO);
  CHECK(read.text(0, GF_QUEUE_TEXT_END_MESSAGE) == "and stayed away");
  REQUIRE(info.attempt_count == 3);
  const auto attempt = read.attempt(0, 0);
  CHECK(attempt.end == GF_ATTEMPT_FAILED);
  CHECK(attempt.fencing_token == 1);
  CHECK(attempt.status == GF_ERR_IO);
  CHECK(attempt.ended_us >= attempt.started_us);
  CHECK(read.text(0, GF_QUEUE_TEXT_ATTEMPT_WORKER, 0) == "worker 1");
  CHECK(read.text(0, GF_QUEUE_TEXT_ATTEMPT_MESSAGE, 2) == "and stayed away");
  CHECK(read.attempt(0, 1).end == GF_ATTEMPT_RELEASED);
  const auto told = json::parse(read.json(0));
  CHECK(told.at("state") == "dead");
  CHECK(told.at("history").size() == 3);
  CHECK(told.at("history")[0].at("status") == "io_error");
  CHECK(told.at("end").at("message") == "and stayed away");
  CHECK(told.at("payload_bytes") == 12);

  // Put back, it runs anew and is done with a result.
  queue.requeue(put_in.id);
  CHECK(status_of([&] { queue.requeue(put_in.id); }) == GF_ERR_WRONG_STATE);
  taken = queue.reserve(1, nullptr, seconds(5));
  REQUIRE(taken.size() == 1);
  queue.complete(taken.key(0), "asset/7", std::string("\1\0\2", 3));
  read = queue.get(put_in.id);
  CHECK(read.info(0).state == GF_QUEUE_DONE);
  CHECK(read.result(0) == std::string("\1\0\2", 3));
  CHECK(read.info(0).result_bytes == 3);
  CHECK(read.text(0, GF_QUEUE_TEXT_RESULT_REFERENCE) == "asset/7");
  CHECK(status_of([&] { queue.cancel(put_in.id); }) == GF_ERR_WRONG_STATE);
  CHECK(status_of([&] { queue.get(JobId()); }) == GF_ERR_NOT_FOUND);
  check_sum(queue);

  // Every step was an event.
  std::uint64_t after = 0;
  std::uint64_t missed = 7;
  std::vector<std::uint32_t> types;
  for (const auto& event : queue.events(after, milliseconds(0), &missed)) types.push_back(event.type);
  CHECK(missed == 0);
  CHECK(types == std::vector<std::uint32_t>{GF_QUEUE_EVENT_ACCEPTED, GF_QUEUE_EVENT_STARTED, GF_QUEUE_EVENT_RETRIED,
                                            GF_QUEUE_EVENT_STARTED, GF_QUEUE_EVENT_RELEASED, GF_QUEUE_EVENT_STARTED,
                                            GF_QUEUE_EVENT_DEAD, GF_QUEUE_EVENT_REQUEUED, GF_QUEUE_EVENT_STARTED,
                                            GF_QUEUE_EVENT_DONE});
  CHECK(after == types.size());
  CHECK(queue.events(after, milliseconds(20)).empty());
}
BOTH("a job goes through every call of its life, and comes out as it went in", whole_life)

void many(const Site& site) {
  auto options = site.options();
  options.numbers.max_jobs = 5;
  options.numbers.max_payload_bytes = 10;
  Queue queue(options);
  std::vector<QueueJob> jobs(7);
  jobs[1].priority = GF_PRIORITY_HIGH;
  jobs[2].payload = "much too long";
  jobs[3].delay = seconds(60);
  const auto answers = queue.enqueue_many(jobs);
  REQUIRE(answers.size() == 7);
  CHECK(answers[2].status == GF_ERR_PAYLOAD_TOO_LARGE);
  CHECK(answers[3].state == GF_QUEUE_DELAYED);
  CHECK(answers[6].status == GF_ERR_QUEUE_FULL);
  CHECK(std::string(gf_last_error_message()).rfind("jobs[2]: ", 0) == 0);
  int in = 0;
  for (const auto& answer : answers) in += answer.status == GF_OK ? 1 : 0;
  CHECK(in == 5);
  CHECK(status_of([&] { queue.enqueue(QueueJob(), milliseconds(30)); }) == GF_ERR_QUEUE_FULL);

  auto taken = queue.reserve(10, "w", seconds(0));
  REQUIRE(taken.size() == 4);
  CHECK(JobId{taken.key(0).job} == answers[1].id);
  std::vector<gf_lease_key> keys;
  for (std::uint32_t index = 0; index < 4; ++index) keys.push_back(taken.key(index));
  keys[1].fencing_token = 9;
  CHECK(queue.complete_many(keys) == std::vector<std::uint32_t>{GF_OK, GF_ERR_LEASE_LOST, GF_OK, GF_OK});
  CHECK(std::string(gf_last_error_message()).rfind("keys[1]: ", 0) == 0);
  const auto figures = queue.statistics();
  CHECK(figures.done == 3);
  CHECK(figures.running == 1);
  CHECK(figures.delayed == 1);
  CHECK(figures.rejected >= 2);  // In Redis one that waits is refused at every look.
  CHECK(figures.fenced_off == 1);
  CHECK(figures.wait_count == 4);
  CHECK(figures.run_p99_us > 0);
  const auto told = json::parse(queue.statistics_json());
  CHECK(told.at("totals").at("accepted") == 5);
  CHECK(told.at("waiting").at("high") == 0);
  CHECK(told.at("run").at("count") == 3);
  CHECK(queue.prometheus_text().find("gameforge_queue_done_total{queue=\"" + options.name.value() + "\"} 3") !=
        std::string::npos);
  check_sum(queue);
}
BOTH("many at once: each has an answer of its own", many)

void letters(const Site& site) {
  auto options = site.options();
  options.rules = {{GF_ERR_IO, GF_FAILURE_DEAD}, {GF_ERR_CORRUPT_FILE, GF_FAILURE_RETRY}};
  Queue queue(options);
  for (int index = 0; index < 30; ++index) {
    QueueJob job;
    job.user = index % 3 == 0 ? "ann" : "bob";
    job.tags = {index % 2 == 0 ? "even" : "odd"};
    job.retry_base = std::chrono::microseconds(1);
    queue.enqueue(job);
  }
  // Those that wait are listed in pages too.
  const auto pages = [&queue](gf_queue_state state, std::uint32_t limit) {
    std::set<std::string> ids;
    std::string cursor;
    do {
      const auto page = queue.list(in_state(state), cursor, limit);
      CHECK(page.size() <= limit);
      for (std::uint32_t index = 0; index < page.size(); ++index) {
        CHECK(ids.insert(JobId{page.key(index).job}.text()).second);
      }
      cursor = page.cursor();
      REQUIRE(ids.size() <= 30);
    } while (!cursor.empty());
    return ids;
  };
  CHECK(pages(GF_QUEUE_WAITING, 7).size() == 30);
  auto taken = queue.reserve(30, "w", seconds(0));
  REQUIRE(taken.size() == 30);
  CHECK(pages(GF_QUEUE_RUNNING, 7).size() == 30);
  for (std::uint32_t index = 0; index < 30; ++index) {
    // The host's rule, where the table would say that trying again may help.
    CHECK(queue.fail(taken.key(index), GF_ERR_IO, "no disk").state == GF_QUEUE_DEAD);
  }
  CHECK(pages(GF_QUEUE_DEAD, 7).size() == 30);
  auto filter = in_state(GF_QUEUE_DEAD);
  filter.user = "ann";
  filter.tag = "even";
  filter.status = GF_ERR_IO;
  CHECK(queue.list(filter).size() == 5);
  CHECK(queue.requeue_many(filter, seconds(10)) == 5);
  CHECK(status_of([&] { queue.list(filter, "%4"); }) == GF_ERR_INVALID_ARGUMENT);
  CHECK(status_of([&] { queue.list(filter, "%zz"); }) == GF_ERR_INVALID_ARGUMENT);
  filter.status = GF_ERR_NETWORK;
  CHECK(queue.requeue_many(filter, seconds(10)) == 0);
  CHECK(queue.purge(in_state(GF_QUEUE_DEAD), seconds(10)) == 25);
  CHECK(queue.purge(in_state(GF_QUEUE_WAITING), seconds(10)) == 5);
  const auto figures = queue.statistics();
  CHECK(figures.dead == 0);
  CHECK(figures.removed == 25);
  CHECK(figures.cancelled == 5);
  // And the other way round: what the table calls hopeless is tried again.
  queue.enqueue(QueueJob());
  taken = queue.reserve(1, "w", seconds(0));
  REQUIRE(taken.size() == 1);
  CHECK(queue.fail(taken.key(0), GF_ERR_CORRUPT_FILE).state != GF_QUEUE_DEAD);
  check_sum(queue);
}
BOTH("dead letters are listed in pages, filtered, put back and removed", letters)

void control(const Site& site) {
  auto options = site.options();
  Queue queue(options);
  const auto waits = queue.enqueue(QueueJob());
  queue.pause();
  CHECK(queue.statistics().paused == 1);
  CHECK(queue.reserve(1, "w", milliseconds(20)).empty());
  queue.pause(false);
  auto taken = queue.reserve(1, "w", seconds(5), milliseconds(200));
  REQUIRE(taken.size() == 1);
  CHECK_FALSE(queue.drain(milliseconds(10)));
  // Running: its holder learns, and what it answers no longer counts.
  CHECK(queue.cancel(waits.id) == GF_CANCEL_REQUESTED);
  CHECK(queue.extend(taken.key(0)));
  // A run whose lease is kept outlives its 200 ms, and asks without waiting whether it shall go on.
  queue.hold(taken.key(0), seconds(1));
  CHECK(queue.hold_state(taken.key(0)) == GF_LEASE_CANCEL_REQUESTED);
  queue.let_go(taken.key(0));
  CHECK(status_of([&] { queue.let_go(taken.key(0)); }) == GF_ERR_NOT_FOUND);
  CHECK(queue.fail(taken.key(0), GF_ERR_IO, "stopped", GF_FAILURE_RETRY).state == GF_QUEUE_CANCELLED);
  CHECK(queue.drain(seconds(5)));
  queue.pause(false);
  const auto delayed = queue.enqueue([] {
    QueueJob job;
    job.delay = seconds(100);
    return job;
  }());
  CHECK(queue.cancel(delayed.id) == GF_CANCEL_ENDED);

  // A lease that runs out comes back by a sweep alone.
  const auto left = queue.enqueue(QueueJob());
  taken = queue.reserve(1, "w", seconds(5), milliseconds(1));
  REQUIRE(taken.size() == 1);
  std::this_thread::sleep_for(milliseconds(5));
  queue.sweep();
  CHECK(queue.statistics().recovered == 1);
  CHECK(queue.get(left.id).info(0).state == GF_QUEUE_WAITING);

  // Other limits hold at once.
  options.numbers.max_jobs = 1;
  queue.configure(options);
  CHECK(status_of([&] { queue.enqueue(QueueJob()); }) == GF_ERR_QUEUE_FULL);

  // One thread waits for a job, and another ends its wait.
  queue.purge(in_state(GF_QUEUE_WAITING), seconds(5));
  gf_status ended = GF_OK;
  std::thread waiter([&] { ended = status_of([&] { queue.reserve(1, "w", seconds(60)); }); });
  std::this_thread::sleep_for(milliseconds(50));
  queue.stop();
  waiter.join();
  CHECK(ended == GF_ERR_SHUTTING_DOWN);
  CHECK(status_of([&] { queue.enqueue(QueueJob()); }) == GF_ERR_SHUTTING_DOWN);
  CHECK(queue.statistics().cancelled == 3);
  check_sum(queue);
}
BOTH("cancel, pause, drain, sweep, configure and stop", control)

void limits(const Site& site) {
  gameforge::RateLimits given;
  if (site.server != nullptr) given.redis_url = site.server->url();
  given.name_space = site.options().name;
  given.per_user = {1, 3, 3600'000'000};
  given.user_classes = {{"paying", {1, 5, 3600'000'000}}};
  gameforge::RateLimiter limiter(given);
  int admitted = 0;
  for (int asked = 0; asked < 10; ++asked) admitted += limiter.take("ann") == std::chrono::microseconds(0) ? 1 : 0;
  CHECK(admitted == 3);
  CHECK(limiter.take("ann") > seconds(3000));
  CHECK(limiter.take("ann") <= seconds(3600));
  CHECK(limiter.take("bob", nullptr, nullptr, 3) == std::chrono::microseconds(0));
  CHECK(status_of([&] { limiter.take("bob", nullptr, nullptr, 4); }) == GF_ERR_INVALID_ARGUMENT);
  CHECK(limiter.take("cid", "paying", nullptr, 5) == std::chrono::microseconds(0));
  given.per_user = {1000, 1000, 1000};
  limiter.configure(given);
  CHECK(limiter.take("ann") <= milliseconds(1));
  gf_rate_question question = GF_RATE_QUESTION_INIT;
  question.user = "dan";
  gf_rate_answer answer = GF_RATE_ANSWER_INIT;
  REQUIRE(gf_rate_limiter_take(limiter.handle(), &question, &answer) == GF_OK);
  CHECK(answer.remaining == 999);
  CHECK(answer.retry_after_us == 0);
}
BOTH("a rate limiter refuses with the time to wait, by class, and can be changed", limits)

}  // namespace

TEST_CASE("two handles on one queue in Redis see the same jobs, and a dead handle's jobs come back") {
  const Site site(&redis());
  const auto options = site.options();
  Queue here(options);
  QueueJobs lost;
  {
    Queue there(options);
    there.enqueue(QueueJob());
    lost = there.reserve(1, "gone", seconds(5), milliseconds(50));
    REQUIRE(lost.size() == 1);
  }
  // What was read outlives its queue; the job is taken anew under the next token.
  CHECK(lost.text(0, GF_QUEUE_TEXT_WORKER) == "gone");
  const auto again = here.reserve(1, "here", seconds(20));
  REQUIRE(again.size() == 1);
  CHECK(again.key(0).fencing_token == 2);
  CHECK(status_of([&] { here.complete(lost.key(0)); }) == GF_ERR_LEASE_LOST);
  here.complete(again.key(0));
}

TEST_CASE("a journal gives the next opener what this one had, and has one owner") {
  const gf::test::TemporaryFolder folder;
  QueueOptions options;
  options.journal = folder / "jobs.journal";
  JobId waits;
  JobId runs;
  {
    Queue queue(options);
    QueueJob job;
    job.user = "ann";
    job.payload = std::string("a\0b", 3);
    runs = queue.enqueue(job).id;
    waits = queue.enqueue(job).id;
    REQUIRE(JobId{queue.reserve(1, "w", seconds(0)).key(0).job} == runs);
    CHECK(status_of([&] { const Queue second(options); }) == GF_ERR_LOCKED);
  }
  options.numbers.journal_durability = GF_JOURNAL_SYSTEM;
  Queue queue(options);
  CHECK(queue.get(waits).payload(0) == std::string("a\0b", 3));
  // What ran when its process went counts as crashed, and comes back under the next token.
  const auto taken = queue.reserve(10, "w", seconds(5));
  REQUIRE(taken.size() == 2);
  for (std::uint32_t index = 0; index < 2; ++index) {
    const auto key = taken.key(index);
    CHECK(key.fencing_token == (JobId{key.job} == runs ? 2 : 1));
    queue.complete(key);
  }
  const auto figures = queue.statistics();
  CHECK(figures.accepted == 2);
  CHECK(figures.done == 2);
  CHECK(figures.recovered == 1);
  check_sum(queue);
}

TEST_CASE("what a server keeps is told by the log, or refused") {
  const Site site(&redis());
  auto options = site.options();
  std::string told;
  options.numbers.log_level = GF_LOG_WARNING;
  options.numbers.log_user_data = &told;
  options.numbers.log_callback = [](void* user_data, const gf_log_record* record, const char* module,
                                    const char* message) {
    if (record->level == GF_LOG_WARNING && record->unix_us > 0) {
      *static_cast<std::string*>(user_data) += std::string(module) + ": " + message + "\n";
    }
  };
  { const Queue queue(options); }
  CHECK(told.find("queue: ") == 0);
  CHECK(told.find("keeps nothing on disk") != std::string::npos);
  options.numbers.flags = GF_QUEUE_STRICT_SERVER;
  CHECK(status_of([&] { const Queue queue(options); }) == GF_ERR_UNSUPPORTED);
}

TEST_CASE("the log callback cannot close the queue while a held lease is renewed, and is told so") {
  struct Heard {
    std::atomic<gf_queue*> queue{nullptr};
    std::atomic<int> answer{-1};
  } heard;
  const Site site(&redis());
  auto options = site.options();
  options.numbers.log_level = GF_LOG_WARNING;
  options.numbers.log_user_data = &heard;
  options.numbers.log_callback = [](void* user_data, const gf_log_record*, const char*, const char*) {
    auto& to = *static_cast<Heard*>(user_data);
    if (auto* const queue = to.queue.load()) to.answer = gf_queue_close(queue);
  };
  Queue queue(options);
  queue.enqueue({});
  const auto taken = queue.reserve(1, "worker", seconds(5));
  REQUIRE(taken.size() == 1);
  const auto key = taken.key(0);
  queue.hold(key, std::chrono::milliseconds(300));
  heard.queue = queue.handle();
  queue.extend(key, std::chrono::milliseconds(1));  // It runs out before it is renewed.
  const auto until = std::chrono::steady_clock::now() + seconds(10);
  while (queue.hold_state(key) != GF_LEASE_LOST && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(queue.hold_state(key) == GF_LEASE_LOST);
  CHECK(heard.answer == GF_ERR_WRONG_STATE);
  heard.queue = nullptr;
  CHECK(queue.statistics().accepted == 1);
}

TEST_CASE("a server that is not there is told within the time that was given") {
  QueueOptions options;
  options.redis_url = "redis://user:secret@127.0.0.1:" + std::to_string(gf::test::free_port());
  options.numbers.command_timeout_us = 100'000;
  const auto begun = std::chrono::steady_clock::now();
  try {
    const Queue queue(options);
    FAIL("it opened");
  } catch (const gameforge::Error& error) {
    CHECK((error.status() == GF_ERR_NETWORK || error.status() == GF_ERR_TIMED_OUT));
    CHECK(error.retryable());
    CHECK(std::string(error.what()).find("secret") == std::string::npos);
    CHECK(std::string(error.what()).find("127.0.0.1") != std::string::npos);
  }
  CHECK(std::chrono::steady_clock::now() - begun < seconds(3));
}

TEST_CASE("arrays may have structs of a later header, and are stepped through by their own size") {
  struct Later {
    gf_queue_job job = GF_QUEUE_JOB_INIT;
    std::uint64_t later = 0;
  };
  struct LaterAnswer {
    gf_queue_enqueued answer = GF_QUEUE_ENQUEUED_INIT;
    std::uint64_t later = 42;
  };
  Queue queue;
  std::vector<Later> jobs(3);
  std::vector<LaterAnswer> answers(3);
  for (std::size_t index = 0; index < 3; ++index) {
    jobs[index].job.struct_size = sizeof(Later);
    jobs[index].job.priority = static_cast<std::uint32_t>(index);
    answers[index].answer.struct_size = sizeof(LaterAnswer);
  }
  REQUIRE(gf_queue_enqueue_many(queue.handle(), &jobs[0].job, 3, &answers[0].answer) == GF_OK);
  const auto figures = queue.statistics();
  CHECK(figures.waiting[0] == 1);
  CHECK(figures.waiting[1] == 1);
  CHECK(figures.waiting[2] == 1);
  CHECK(answers[2].answer.id.high != 0);
  CHECK(answers[2].later == 42);
  jobs[1].later = 1;
  CHECK(gf_queue_enqueue_many(queue.handle(), &jobs[0].job, 3, nullptr) == GF_ERR_UNSUPPORTED);
  for (auto& job : jobs) job.job.struct_size = sizeof(Later) - 4;
  CHECK(gf_queue_enqueue_many(queue.handle(), &jobs[0].job, 3, nullptr) == GF_ERR_INVALID_ARGUMENT);
  CHECK(queue.statistics().accepted == 3);
}

TEST_CASE("threads that enqueue, reserve and complete through the ABI lose and double nothing") {
  Queue queue;
  constexpr int threads = 4;
  constexpr int each = 2000;
  std::atomic<int> completed{0};
  std::atomic<bool> failed{false};
  std::vector<std::thread> crew;
  for (int number = 0; number < threads; ++number) {
    crew.emplace_back([&] {
      try {
        for (int index = 0; index < each; ++index) queue.enqueue(QueueJob());
      } catch (const gameforge::Error&) {
        failed = true;
      }
    });
    crew.emplace_back([&] {
      try {
        while (completed < threads * each) {
          const auto jobs = queue.reserve(16, "w", milliseconds(50));
          std::vector<gf_lease_key> keys;
          for (std::uint32_t index = 0; index < jobs.size(); ++index) keys.push_back(jobs.key(index));
          if (keys.empty()) continue;
          for (const auto status : queue.complete_many(keys)) completed += status == GF_OK ? 1 : 0;
        }
      } catch (const gameforge::Error&) {
        failed = true;
      }
    });
  }
  for (auto& thread : crew) thread.join();
  CHECK_FALSE(failed);
  CHECK(completed == threads * each);
  CHECK(queue.statistics().done == threads * each);
  check_sum(queue);
}
