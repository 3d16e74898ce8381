// What the journal promises of its file: what comes back, what is refused, and what happens where it cannot be written.
// Processes that are killed are in tests/integration/queue.
#include "../../capi/allocation.hpp"
#include "../../support/files.hpp"

#include "queue/journal.hpp"
#include "queue/memory_queue.hpp"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

using gf::Error;
using gf::JobId;
using gf::Result;
using gf::Status;
using gf::test::FailingAllocation;
using gf::test::file_text;
using gf::test::TemporaryFolder;
using gf::test::write_file;
using namespace gf::queue;

namespace {

constexpr std::int64_t second_us = 1'000'000;
constexpr std::int64_t first_us = 1'700'000'000'000'000;

class TestClock final : public gf::Clock {
 public:
  std::int64_t now_us() const noexcept override { return monotonic; }
  std::int64_t unix_us() const noexcept override { return unix; }
  void advance(std::int64_t us) {
    monotonic += us;
    unix += us;
  }
  std::atomic<std::int64_t> monotonic{77};
  std::atomic<std::int64_t> unix{first_us};
};

using Wrap = std::function<std::unique_ptr<gf::sql::Connection>(std::unique_ptr<gf::sql::Connection>)>;

Result<std::unique_ptr<MemoryQueue>> open(const std::string& path, const gf::Clock& clock, QueueOptions options = {},
                                          Durability durability = Durability::system, Wrap wrap = {}) {
  MemoryQueueOptions wanted;
  wanted.queue = options;
  wanted.clock = &clock;
  wanted.seed = 1;
  wanted.journal = JournalOptions{path, durability, std::move(wrap)};
  return MemoryQueue::create(std::move(wanted));
}

std::unique_ptr<MemoryQueue> must_open(const std::string& path, const gf::Clock& clock, QueueOptions options = {},
                                       Durability durability = Durability::system, Wrap wrap = {}) {
  auto opened = open(path, clock, options, durability, std::move(wrap));
  REQUIRE_MESSAGE(opened.has_value(), opened.error().message);
  return std::move(opened).value();
}

NewJob job_of(std::uint64_t number, std::string payload = "payload") {
  NewJob job;
  job.id = JobId{1, number};
  job.payload = std::move(payload);
  job.retry = {3, 0, 0};
  return job;
}

Lease must_take(MemoryQueue& queue) {
  ReserveRequest request;
  request.worker = "worker";
  auto lease = queue.reserve_one(request);
  REQUIRE_MESSAGE(lease.has_value(), lease.error().message);
  REQUIRE(lease.value().has_value());
  return std::move(*lease.value());
}

void check_sum(MemoryQueue& queue) {
  const auto s = queue.statistics().value();
  CHECK(s.totals.accepted == s.waiting[0] + s.waiting[1] + s.waiting[2] + s.delayed + s.running + s.totals.done +
                                 s.totals.cancelled + s.totals.expired + s.dead + s.totals.removed);
}

/// A connection between the journal and SQLite, which looks at every call and may refuse it.
class Between final : public gf::sql::Connection {
 public:
  using Look = std::function<std::optional<Error>(std::string_view statement)>;
  Between(std::unique_ptr<gf::sql::Connection> inner, Look look) : inner_(std::move(inner)), look_(std::move(look)) {}
  gf::sql::Dialect dialect() const override { return inner_->dialect(); }
  Result<void> execute(std::string_view statement, std::span<const gf::sql::Value> parameters) override {
    if (auto error = look_(statement)) return std::move(*error);
    return inner_->execute(statement, parameters);
  }
  Result<gf::sql::Rows> query(std::string_view statement, std::span<const gf::sql::Value> parameters) override {
    if (auto error = look_(statement)) return std::move(*error);
    return inner_->query(statement, parameters);
  }
  Result<gf::sql::Rows> script(std::string_view statements) override {
    if (auto error = look_(statements)) return std::move(*error);
    return inner_->script(statements);
  }
  bool in_transaction() const override { return inner_->in_transaction(); }
  Result<void> set_timeouts(std::int64_t lock_us, std::int64_t statement_us) override {
    return inner_->set_timeouts(lock_us, statement_us);
  }
  std::shared_ptr<gf::sql::Canceller> canceller() override { return inner_->canceller(); }
  Result<std::int64_t> backend_id() override { return inner_->backend_id(); }
  bool usable() const override { return inner_->usable(); }

 private:
  std::unique_ptr<gf::sql::Connection> inner_;
  Look look_;
};

Wrap looking(Between::Look look) {
  return [look = std::move(look)](std::unique_ptr<gf::sql::Connection> inner) -> std::unique_ptr<gf::sql::Connection> {
    return std::make_unique<Between>(std::move(inner), look);
  };
}

}  // namespace

TEST_CASE("every state comes back as it was, and what ran has crashed") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  QueueOptions options;
  options.max_crashes = 2;
  JobId done;
  JobId cancelled;
  {
    auto queue = must_open(path, clock, options);
    auto waiting = job_of(1, std::string("a\0b\xff", 4));
    waiting.user = "user \xc3\xa4 with a name that is too long to be short";
    waiting.priority = Priority::low;
    waiting.content_type = "application/x";
    waiting.tags = {"one", "two"};
    waiting.idempotency.key = "key 1";
    waiting.deadline_us = 3600 * second_us;
    waiting.retry = {7, 11, 13};
    REQUIRE(queue->enqueue(waiting).has_value());
    auto delayed = job_of(2, "");
    delayed.delay_us = 10 * second_us;
    REQUIRE(queue->enqueue(delayed).has_value());
    auto running = job_of(3);
    running.priority = Priority::high;
    REQUIRE(queue->enqueue(running).has_value());
    CHECK(must_take(*queue).key.id == JobId{1, 3});
    for (const std::uint64_t number : {4, 5, 6, 7, 8}) {
      auto other = job_of(number);
      other.priority = Priority::high;
      REQUIRE(queue->enqueue(other).has_value());
    }
    clock.advance(second_us);
    auto lease = must_take(*queue);
    done = lease.key.id;
    REQUIRE(queue->report_progress(lease.key, {3, 4, "step"}).has_value());
    REQUIRE(queue->complete(lease.key, {"asset", std::string("\0r", 2)}).has_value());
    lease = must_take(*queue);
    CHECK(queue->fail(lease.key, {Status::corrupt_file, "bad \"input\"\n\xc3\xa4"}).value().state == JobState::dead);
    CHECK(lease.key.id == JobId{1, 5});
    cancelled = JobId{1, 6};
    REQUIRE(queue->cancel(cancelled).has_value());
    lease = must_take(*queue);
    CHECK(lease.key.id == JobId{1, 7});
    REQUIRE(queue->cancel(lease.key.id).value() == CancelOutcome::requested);
    lease = must_take(*queue);
    CHECK(queue->release(lease.key).value().state == JobState::waiting);  // One crash.
    CHECK(must_take(*queue).key.id == JobId{1, 8});                       // And it runs.
    check_sum(*queue);
  }
  clock.advance(2 * second_us);
  clock.monotonic = 5;  // Another boot.
  auto queue = must_open(path, clock, options);
  check_sum(*queue);
  const auto waiting = queue->get(JobId{1, 1}).value();
  CHECK(waiting.state == JobState::waiting);
  CHECK(waiting.payload == std::string("a\0b\xff", 4));
  CHECK(waiting.user == "user \xc3\xa4 with a name that is too long to be short");
  CHECK(waiting.priority == Priority::low);
  CHECK(waiting.content_type == "application/x");
  CHECK(waiting.tags == std::vector<std::string>{"one", "two"});
  CHECK(waiting.idempotency_key == "key 1");
  CHECK(waiting.enqueued_us == first_us);
  CHECK(waiting.deadline_us == first_us + 3600 * second_us);
  CHECK(waiting.retry.max_attempts == 7);
  CHECK(waiting.retry.base_us == 11);
  CHECK(waiting.retry.cap_us == 13);
  const auto delayed = queue->get(JobId{1, 2}).value();
  CHECK(delayed.state == JobState::delayed);
  CHECK(delayed.available_us == first_us + 10 * second_us);
  const auto crashed = queue->get(JobId{1, 3}).value();
  CHECK(crashed.state == JobState::waiting);
  CHECK(crashed.crashes == 1);
  CHECK(crashed.fencing_token == 1);
  REQUIRE(crashed.history.size() == 1);
  CHECK(crashed.history[0].end == AttemptEnd::crashed);
  CHECK(crashed.history[0].worker == "worker");
  CHECK(crashed.history[0].started_us == first_us);
  CHECK(crashed.history[0].ended_us == first_us + 3 * second_us);
  CHECK(crashed.history[0].message == "the process ended while the job ran");
  const auto over = queue->get(done).value();
  CHECK(over.state == JobState::done);
  CHECK(over.result.reference == "asset");
  CHECK(over.result.bytes == std::string("\0r", 2));
  CHECK(over.progress.note == "step");
  CHECK(over.payload.empty());
  CHECK(over.finished_us == first_us + second_us);
  const auto dead = queue->get(JobId{1, 5}).value();
  CHECK(dead.state == JobState::dead);
  CHECK(dead.end_status == Status::corrupt_file);
  CHECK(dead.end_message == "bad \"input\"\n\xc3\xa4");
  CHECK(dead.payload == "payload");
  REQUIRE(dead.history.size() == 1);
  CHECK(dead.history[0].status == Status::corrupt_file);
  CHECK(queue->get(cancelled).value().state == JobState::cancelled);
  // It had been told to stop, and never runs again.
  CHECK(queue->get(JobId{1, 7}).value().state == JobState::cancelled);
  // Its second crash was its last.
  const auto poison = queue->get(JobId{1, 8}).value();
  CHECK(poison.state == JobState::dead);
  CHECK(poison.history.size() == 2);
  CHECK(poison.end_message.find("worker died") != std::string::npos);
  // Tokens go on, and so does the key.
  CHECK(must_take(*queue).key.fencing_token == 2);
  auto again = job_of(99);
  again.idempotency.key = "key 1";
  CHECK(queue->enqueue(again).value().id == JobId{1, 1});
  const auto totals = queue->statistics().value().totals;
  CHECK(totals.accepted == 8);
  CHECK(totals.taken == 7);
  CHECK(totals.recovered == 3);
  CHECK(totals.died == 2);
  // Dead letters are put back as ever, and that is kept as well.
  REQUIRE(queue->requeue(JobId{1, 5}).has_value());
  queue.reset();
  queue = must_open(path, clock, options);
  CHECK(queue->get(JobId{1, 5}).value().state == JobState::waiting);
  CHECK(queue->get(JobId{1, 5}).value().history.size() == 1);
  CHECK(queue->get(JobId{1, 5}).value().end_message.empty());
  check_sum(*queue);
}

TEST_CASE("time goes on from where it stood, whatever the machine's clock shows") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  {
    auto queue = must_open(path, clock);
    auto delayed = job_of(1);
    delayed.delay_us = 10 * second_us;
    REQUIRE(queue->enqueue(delayed).has_value());
    clock.advance(4 * second_us);
  }
  clock.unix = first_us - 365 * 24 * 3600 * second_us;  // A year back.
  clock.monotonic = 1;
  {
    auto queue = must_open(path, clock);
    clock.advance(5 * second_us);
    CHECK(queue->get(JobId{1, 1}).value().state == JobState::delayed);
    clock.advance(second_us);
    CHECK(queue->get(JobId{1, 1}).value().state == JobState::waiting);
    auto later = job_of(2);
    later.delay_us = 100 * second_us;
    REQUIRE(queue->enqueue(later).has_value());
  }
  clock.unix = first_us + 50 * second_us;
  CHECK(must_open(path, clock)->get(JobId{1, 2}).value().state == JobState::delayed);
  clock.unix = first_us + 2000 * second_us;
  auto queue = must_open(path, clock);
  CHECK(queue->sweep().has_value());
  CHECK(queue->get(JobId{1, 2}).value().state == JobState::waiting);
}

TEST_CASE("keys outlive the process for their scope") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  QueueOptions options;
  options.kept_finished = 0;
  const auto keyed = [](std::uint64_t number, const char* key, KeyScope scope) {
    auto job = job_of(number);
    job.idempotency.key = key;
    job.idempotency.scope = scope;
    job.idempotency.ttl_us = 100 * second_us;
    return job;
  };
  {
    auto queue = must_open(path, clock, options);
    REQUIRE(queue->enqueue(keyed(1, "time", KeyScope::for_time)).has_value());
    REQUIRE(queue->complete(must_take(*queue).key).has_value());
    REQUIRE(queue->enqueue(keyed(2, "finished", KeyScope::until_finished)).has_value());
    must_take(*queue);
    REQUIRE(queue->enqueue(keyed(3, "started", KeyScope::until_started)).has_value());
    must_take(*queue);
  }
  auto queue = must_open(path, clock, options);
  CHECK(queue->enqueue(keyed(4, "time", KeyScope::for_time)).value().id == JobId{1, 1});
  CHECK(queue->enqueue(keyed(5, "finished", KeyScope::for_time)).value().id == JobId{1, 2});
  CHECK_FALSE(queue->enqueue(keyed(6, "started", KeyScope::for_time)).value().duplicate);
  clock.advance(101 * second_us);
  CHECK_FALSE(queue->enqueue(keyed(7, "time", KeyScope::for_time)).value().duplicate);
  queue.reset();
  queue = must_open(path, clock, options);
  CHECK(queue->enqueue(keyed(8, "time", KeyScope::for_time)).value().id == JobId{1, 7});
}

TEST_CASE("what ended first is forgotten first, after an opening too") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  {
    auto queue = must_open(path, clock);
    for (std::uint64_t number = 1; number <= 8; ++number) REQUIRE(queue->enqueue(job_of(number)).has_value());
    for (const std::uint64_t number : {3, 1, 4, 2}) REQUIRE(queue->cancel(JobId{1, number}).has_value());
    std::vector<Lease> leases;
    for (int count = 0; count < 4; ++count) leases.push_back(must_take(*queue));
    for (const std::size_t at : {2, 0, 3, 1}) {
      REQUIRE(queue->fail(leases[at].key, {Status::internal, "no"}).has_value());
    }
  }
  QueueOptions options;
  options.kept_finished = 2;
  options.max_dead = 2;
  options.dead_overflow = DeadOverflow::expire_oldest;
  auto queue = must_open(path, clock, options);
  for (const std::uint64_t number : {3, 1}) CHECK(queue->get(JobId{1, number}).has_error());
  for (const std::uint64_t number : {4, 2}) CHECK(queue->get(JobId{1, number}).has_value());
  // Dead letters stay until one more comes.
  CHECK(queue->statistics().value().dead == 4);
  REQUIRE(queue->enqueue(job_of(9)).has_value());
  REQUIRE(queue->fail(must_take(*queue).key, {Status::internal, "no"}).has_value());
  for (const std::uint64_t number : {7, 5, 8}) CHECK(queue->get(JobId{1, number}).has_error());
  for (const std::uint64_t number : {6, 9}) CHECK(queue->get(JobId{1, number}).value().state == JobState::dead);
  check_sum(*queue);
}

TEST_CASE("one process has a journal, and the next is told which") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  auto queue = must_open(path, clock);
  REQUIRE(queue->enqueue(job_of(1)).has_value());
  const auto second = open(path, clock);
  REQUIRE(second.has_error());
  CHECK(second.error().status == Status::locked);
  CHECK(second.error().message.find(fmt::format("process {}", ::getpid())) != std::string::npos);
  // And the first still has it.
  REQUIRE(queue->enqueue(job_of(2)).has_value());
  CHECK(open(path, clock).error().status == Status::locked);
  queue.reset();
  CHECK(must_open(path, clock)->statistics().value().totals.accepted == 2);
}

TEST_CASE("a file that is no journal, or a later one's, or damaged, is refused and stays as it is") {
  const TemporaryFolder folder;
  TestClock clock;
  const auto path = folder / "journal";
  {
    auto queue = must_open(path, clock);
    for (std::uint64_t number = 1; number <= 50; ++number) {
      REQUIRE(queue->enqueue(job_of(number, std::string(300, 'x'))).has_value());
    }
  }
  const auto whole = file_text(path);
  REQUIRE(whole.size() > 3 * 4096);
  const auto refused = [&](const std::string& bytes, Status status, const char* words) {
    CAPTURE(std::string(words));
    write_file(path, bytes);
    const auto opened = open(path, clock);
    REQUIRE(opened.has_error());
    CHECK(opened.error().status == status);
    CHECK_MESSAGE(opened.error().message.find(words) != std::string::npos, opened.error().message);
    CHECK(opened.error().message.find("journal") != std::string::npos);
    CHECK(file_text(path) == bytes);
    // SQLite may have made a log, and wrote nothing into it.
    if (std::filesystem::exists(path + "-wal")) CHECK(std::filesystem::file_size(path + "-wal") == 0);
  };
  refused("not a database, but a text that somebody wrote", Status::corrupt_file, "not a database");
  refused(whole.substr(0, 100), Status::corrupt_file, "");
  refused(whole.substr(0, 4096), Status::corrupt_file, "");
  refused(whole.substr(0, whole.size() / 8192 * 4096), Status::corrupt_file, "");
  auto later = whole;
  later[63] = 2;  // user_version, big endian, at byte 60.
  refused(later, Status::schema_too_new, "has schema 2; this library knows 1");
  later[63] = 0;
  refused(later, Status::corrupt_file, "user_version is 0");
  auto foreign = whole;
  foreign[71] = 'X';  // application_id, at byte 68.
  refused(foreign, Status::unsupported_format, "no queue's journal");
  // Tables that fit, and say what cannot be.
  const auto edited = [&](const char* statement, Status status, const char* words) {
    write_file(path, whole);
    {
      auto db = gf::sql::open_sqlite(path).value();
      REQUIRE(db->execute(statement).has_value());
      (void)db->query("PRAGMA wal_checkpoint(TRUNCATE)");
      (void)db->query("PRAGMA journal_mode = DELETE");
    }
    refused(file_text(path), status, words);
  };
  edited("DELETE FROM job WHERE number = 7", Status::corrupt_file, "50 jobs were accepted, and 49 are known");
  edited("UPDATE job SET state = 9 WHERE number = 7", Status::corrupt_file, "job number 7");
  edited("UPDATE job SET id = 'x' WHERE number = 7", Status::corrupt_file, "job number 7");
  edited("UPDATE job SET user = x'ff' WHERE number = 7", Status::corrupt_file, "job number 7");
  edited("UPDATE job SET id = (SELECT id FROM job WHERE number = 1) WHERE number = 7", Status::corrupt_file, "twice");
  edited("UPDATE body SET texts = x'09' WHERE number = 7", Status::corrupt_file, "texts");
  edited("INSERT INTO story VALUES (7, '[{}]', 0, '', '', '', 0, 0, '')", Status::corrupt_file, "job number 7");
  edited("INSERT INTO story VALUES (7, 'no JSON', 0, '', '', '', 0, 0, '')", Status::corrupt_file, "job number 7");
  edited("INSERT INTO key VALUES (1, 'a', 'b', 0, 0)", Status::corrupt_file, "key number 1");
  edited("DROP TABLE body", Status::corrupt_file, "no such table");
  edited("DELETE FROM head", Status::corrupt_file, "head");
  // And as it was, it is read.
  write_file(path, whole);
  CHECK(must_open(path, clock)->statistics().value().totals.accepted == 50);
  CHECK(open(folder.path(), clock).error().status == Status::io_error);
  CHECK(open(folder / "no folder/journal", clock).error().status == Status::io_error);
  CHECK(open("", clock).error().status == Status::invalid_argument);
  // An empty file is what is left where the making was cut off.
  const auto empty = folder / "empty";
  write_file(empty, "");
  CHECK(must_open(empty, clock)->statistics().value().totals.accepted == 0);
}

TEST_CASE("a log that was cut anywhere gives the jobs up to the cut, or is refused") {
  const TemporaryFolder folder;
  TestClock clock;
  const auto path = folder / "journal";
  const auto kept = folder / "kept";
  constexpr std::uint64_t jobs = 40;
  {
    auto queue = must_open(path, clock);
    for (std::uint64_t number = 1; number <= jobs; ++number) {
      REQUIRE(queue->enqueue(job_of(number, std::string(100, static_cast<char>('a' + number % 26)))).has_value());
    }
    // As a kill would leave them.
    write_file(kept, file_text(path));
    write_file(kept + "-wal", file_text(path + "-wal"));
  }
  const auto file = file_text(kept);
  const auto log = file_text(kept + "-wal");
  REQUIRE(log.size() > 40 * 4096);
  std::uint64_t before = 0;
  std::size_t steps = 0;
  const auto try_cut = [&](std::size_t size) {
    CAPTURE(size);
    write_file(path, file);
    write_file(path + "-wal", log.substr(0, size));
    auto opened = open(path, clock);
    if (!opened) {
      CHECK(opened.error().status == Status::corrupt_file);
      return;
    }
    auto& queue = *opened.value();
    const auto accepted = queue.statistics().value().totals.accepted;
    CHECK(accepted >= before);
    if (accepted != before) ++steps;
    before = accepted;
    for (std::uint64_t number = 1; number <= jobs; ++number) {
      const auto record = queue.get(JobId{1, number});
      REQUIRE(record.has_value() == (number <= accepted));
      if (record) CHECK(record.value().payload == std::string(100, static_cast<char>('a' + number % 26)));
    }
    check_sum(queue);
  };
  for (std::size_t size = 0; size < log.size(); size += 1531) try_cut(size);
  try_cut(log.size());
  CHECK(before == jobs);
  CHECK(steps > 20);
}

TEST_CASE("bytes that were changed anywhere are refused or read, and nothing else") {
  const TemporaryFolder folder;
  TestClock clock;
  const auto path = folder / "journal";
  {
    auto queue = must_open(path, clock);
    for (std::uint64_t number = 1; number <= 30; ++number) {
      auto job = job_of(number, std::string(200, 'p'));
      job.tags = {"tag"};
      job.idempotency.key = fmt::format("key {}", number);
      REQUIRE(queue->enqueue(job).has_value());
    }
    for (int count = 0; count < 5; ++count) {
      REQUIRE(queue->fail(must_take(*queue).key, {Status::internal, "no"}).has_value());
    }
  }
  const auto whole = file_text(path);
  int refused = 0;
  for (std::uint32_t seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    auto bytes = whole;
    for (int count = 0; count < 4; ++count) bytes[random() % bytes.size()] = static_cast<char>(random());
    write_file(path, bytes);
    std::filesystem::remove(path + "-wal");
    auto opened = open(path, clock);
    if (!opened) {
      ++refused;
      const auto status = opened.error().status;
      const bool typed = status == Status::corrupt_file || status == Status::unsupported_format ||
                         status == Status::schema_too_new || status == Status::io_error ||
                         status == Status::unauthorised || status == Status::out_of_host_memory;
      CHECK_MESSAGE(typed, opened.error().message);
      continue;
    }
    check_sum(*opened.value());
  }
  CHECK(refused > 10);
}

TEST_CASE("a thousand jobs at once are one transaction, and threads share theirs") {
  const TemporaryFolder folder;
  TestClock clock;
  std::atomic<int> commits{0};
  auto queue = must_open(folder / "journal", clock, {}, Durability::disk,
                         looking([&](std::string_view statement) -> std::optional<Error> {
                           if (statement == "COMMIT") ++commits;
                           return std::nullopt;
                         }));
  commits = 0;
  std::vector<NewJob> jobs;
  for (std::uint64_t number = 1; number <= 1000; ++number) jobs.push_back(job_of(number));
  for (const auto& answer : queue->enqueue_many(std::move(jobs))) REQUIRE(answer.has_value());
  CHECK(commits == 1);
  ReserveRequest request;
  request.count = 1000;
  const auto leases = queue->reserve(request).value();
  CHECK(leases.size() == 1000);
  CHECK(commits == 2);
  std::vector<Completion> completions;
  for (const auto& lease : leases) completions.push_back({lease.key, {}});
  for (const auto& answer : queue->complete_many(std::move(completions))) REQUIRE(answer.has_value());
  CHECK(commits == 3);
  // A key of the same call waits for the answer of its holder.
  auto twice = job_of(2001);
  twice.idempotency.key = "twice";
  auto joined = job_of(2002);
  joined.idempotency.key = "twice";
  const auto answers = queue->enqueue_many({twice, joined});
  CHECK(answers[1].value().duplicate);
  CHECK(answers[1].value().id == JobId{1, 2001});
  commits = 0;
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&queue, thread] {
      for (std::uint64_t number = 0; number < 50; ++number) {
        CHECK(queue->enqueue(job_of(10'000 + thread * 100 + number)).has_value());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(commits < 400);
  MESSAGE("400 enqueues of eight threads took " << commits.load() << " transactions");
  CHECK(queue->statistics().value().totals.accepted == 1401);
}

TEST_CASE("where there is no room for new jobs, those that are in are taken and ended") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  std::atomic<bool> full{false};
  {
    auto queue =
        must_open(path, clock, {}, Durability::system, looking([&](std::string_view statement) -> std::optional<Error> {
                    if (full && statement.starts_with("INSERT INTO job")) {
                      return Error{Status::disk_full, "database or disk is full", {}};
                    }
                    return std::nullopt;
                  }));
    REQUIRE(queue->enqueue(job_of(1)).has_value());
    REQUIRE(queue->enqueue(job_of(2)).has_value());
    full = true;
    auto keyed = job_of(3);
    keyed.idempotency.key = "key";
    keyed.user = "nobody else";
    const auto refused = queue->enqueue(keyed);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::disk_full);
    CHECK(refused.error().message.find("disk is full") != std::string::npos);
    CHECK(queue->get(JobId{1, 3}).error().status == Status::not_found);
    CHECK(queue->statistics().value().totals.accepted == 2);
    CHECK(queue->statistics().value().users == 1);
    check_sum(*queue);
    REQUIRE(queue->complete(must_take(*queue).key).has_value());
    const auto many = queue->enqueue_many({job_of(4), job_of(5)});
    CHECK(many[0].error().status == Status::disk_full);
    CHECK(many[1].error().status == Status::disk_full);
    full = false;
    CHECK_FALSE(queue->enqueue(keyed).value().duplicate);
  }
  auto queue = must_open(path, clock);
  CHECK(queue->get(JobId{1, 1}).value().state == JobState::done);
  CHECK(queue->get(JobId{1, 3}).value().state == JobState::waiting);
  CHECK(queue->get(JobId{1, 4}).error().status == Status::not_found);
}

TEST_CASE("where nothing can be written, nothing is accepted or handed out, and what was done is written later") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  std::atomic<bool> broken{false};
  {
    auto queue =
        must_open(path, clock, {}, Durability::system, looking([&](std::string_view statement) -> std::optional<Error> {
                    if (broken && statement == "BEGIN IMMEDIATE") {
                      return Error{Status::io_error, "disk I/O error", {}};
                    }
                    return std::nullopt;
                  }));
    REQUIRE(queue->enqueue(job_of(1)).has_value());
    REQUIRE(queue->enqueue(job_of(2)).has_value());
    const auto lease = must_take(*queue);
    broken = true;
    CHECK(queue->enqueue(job_of(3)).error().status == Status::io_error);
    CHECK(queue->reserve({}).error().status == Status::io_error);
    CHECK(queue->get(JobId{1, 2}).value().state == JobState::waiting);
    CHECK(queue->statistics().value().running == 1);
    const auto completed = queue->complete(lease.key);
    CHECK(completed.error().status == Status::io_error);
    CHECK(completed.error().message.find("it is done, and the journal does not have it yet") == 0);
    CHECK(queue->get(JobId{1, 1}).value().state == JobState::done);
    check_sum(*queue);
    broken = false;
    const auto second = must_take(*queue);
    CHECK(second.key.id == JobId{1, 2});
    CHECK(second.key.fencing_token == 2);  // The first was never handed out.
  }
  auto queue = must_open(path, clock);
  CHECK(queue->get(JobId{1, 1}).value().state == JobState::done);
  CHECK(must_take(*queue).key.fencing_token == 3);
}

namespace {

/// What a history of calls was told, by the job's number. Nothing here allocates, so that only the queue can fail.
struct Told {
  static constexpr std::uint64_t jobs = 6;
  std::array<bool, jobs + 1> accepted{};
  std::array<bool, jobs + 1> done{};
  std::array<bool, jobs + 1> maybe_done{};
  std::array<std::uint64_t, jobs + 1> token{};
};

/// Made beforehand, for the same reason.
struct Words {
  std::vector<NewJob> jobs;
  ReserveRequest request;
  JobResult result{"an asset with a long name, one of many", ""};
  Failure failure{Status::network_error, "a message that is too long to be a short one"};

  Words() {
    request.worker = "a worker with a long name, one of many";
    for (std::uint64_t number = 1; number <= Told::jobs; ++number) {
      jobs.push_back(job_of(number));
      jobs.back().user = fmt::format("a user with a long name {}", number);
      if (number % 2 == 0) jobs.back().idempotency.key = fmt::format("a key that is not short {}", number);
    }
  }
};

void play(MemoryQueue& queue, const Words& words, Told& told) {
  for (const auto& job : words.jobs) {
    try {
      told.accepted[job.id.low] = queue.enqueue(job).has_value();
    } catch (const std::bad_alloc&) {
    }
  }
  for (int turn = 0; turn < 9; ++turn) {
    try {
      const auto leases = queue.reserve(words.request);
      if (!leases) continue;
      for (const auto& lease : leases.value()) {
        const auto number = lease.key.id.low;
        if (lease.key.fencing_token <= told.token[number] || told.done[number]) FAIL("a token twice, or a job");
        told.token[number] = lease.key.fencing_token;
        if (turn % 3 == 0) {
          told.maybe_done[number] = true;
          told.done[number] = queue.complete(lease.key, words.result).has_value();
        } else if (turn % 3 == 1) {
          (void)queue.fail(lease.key, words.failure);
        } else {
          (void)queue.release(lease.key);
        }
      }
    } catch (const std::bad_alloc&) {
    }
  }
}

void check_told(MemoryQueue& queue, const Told& told) {
  check_sum(queue);
  for (std::uint64_t number = 1; number <= Told::jobs; ++number) {
    CAPTURE(number);
    const auto record = queue.get(JobId{1, number});
    REQUIRE(record.has_value() == told.accepted[number]);
    if (!record) continue;
    CHECK(record.value().fencing_token >= told.token[number]);
    if (told.done[number]) CHECK(record.value().state == JobState::done);
    if (record.value().state == JobState::done) {
      CHECK(told.maybe_done[number]);
    } else {
      CHECK(record.value().payload == "payload");
    }
  }
}

}  // namespace

TEST_CASE("every SQLite call fails once: what was told is true, here and after the next opening") {
  TestClock clock;
  QueueOptions options;
  options.max_crashes = 100;
  const Words words;
  int opened = 0;
  for (int fail_at = 1;; ++fail_at) {
    CAPTURE(fail_at);
    const TemporaryFolder folder;
    const auto path = folder / "journal";
    int calls = 0;
    Told told;
    {
      auto queue =
          open(path, clock, options, Durability::system, looking([&](std::string_view) -> std::optional<Error> {
                 if (++calls != fail_at) return std::nullopt;
                 return Error{Status::io_error, "disk I/O error", {}};
               }));
      if (queue) {
        ++opened;
        play(*queue.value(), words, told);
        check_told(*queue.value(), told);
      } else {
        CHECK(queue.error().status == Status::io_error);
      }
    }
    auto queue = must_open(path, clock, options);
    check_told(*queue, told);
    if (calls < fail_at) break;
  }
  CHECK(opened > 100);
}

TEST_CASE("every allocation fails once: what was told is true, here and after the next opening") {
  TestClock clock;
  QueueOptions options;
  options.max_crashes = 100;
  const Words words;
  long opened = 0;
  for (long fail_at = 1;; fail_at += fail_at < 300 ? 1 : 7) {
    CAPTURE(fail_at);
    const TemporaryFolder folder;
    const auto path = folder / "journal";
    Told told;
    bool failed = false;
    {
      std::unique_ptr<MemoryQueue> queue;
      {
        const FailingAllocation failing(fail_at);
        try {
          auto made = open(path, clock, options);
          if (made) {
            queue = std::move(made).value();
          } else {
            CHECK(made.error().status == Status::out_of_host_memory);
          }
        } catch (const std::bad_alloc&) {
        }
        if (queue) {
          ++opened;
          play(*queue, words, told);
        }
        failed = failing.failed();
      }
      if (queue) check_told(*queue, told);
    }
    auto queue = must_open(path, clock, options);
    check_told(*queue, told);
    if (!failed) break;
  }
  CHECK(opened > 100);
}

TEST_CASE("the file stays as small as what is in it") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  TestClock clock;
  QueueOptions options;
  options.kept_finished = 100;
  options.depth = {0, 0};
  std::uint64_t number = 0;
  std::uintmax_t after_first = 0;
  {
    auto queue = must_open(path, clock, options);
    for (int round = 0; round < 60; ++round) {
      std::vector<NewJob> jobs;
      for (int count = 0; count < 500; ++count) jobs.push_back(job_of(++number, std::string(500, 'x')));
      queue->enqueue_many(std::move(jobs));
      ReserveRequest request;
      request.count = 500;
      std::vector<Completion> completions;
      const auto leases = queue->reserve(request).value();
      for (const auto& lease : leases) completions.push_back({lease.key, {}});
      for (const auto& answer : queue->complete_many(std::move(completions))) {
        REQUIRE_MESSAGE(answer.has_value(), answer.error().message);
      }
      if (round == 4) after_first = std::filesystem::file_size(path) + std::filesystem::file_size(path + "-wal");
    }
    CHECK(std::filesystem::file_size(path + "-wal") <= 17U << 20);
    CHECK(std::filesystem::file_size(path) + std::filesystem::file_size(path + "-wal") < after_first * 3 / 2);
    CHECK(queue->statistics().value().totals.done == 30'000);
    // A long backlog that is gone gives its pages back.
    for (int round = 0; round < 20; ++round) {
      std::vector<NewJob> jobs;
      for (int count = 0; count < 1000; ++count) jobs.push_back(job_of(++number, std::string(500, 'x')));
      queue->enqueue_many(std::move(jobs));
    }
  }
  const auto largest = std::filesystem::file_size(path);
  CHECK(largest > 10U << 20);
  {
    auto queue = must_open(path, clock, options);
    ReserveRequest request;
    for (int turn = 0; turn < 2000; ++turn) {
      request.count = 10;
      std::vector<Completion> completions;
      const auto leases = queue->reserve(request).value();
      for (const auto& lease : leases) completions.push_back({lease.key, {}});
      queue->complete_many(std::move(completions));
    }
    CHECK(queue->statistics().value().waiting[1] == 0);
  }
  CHECK(std::filesystem::file_size(path) < largest / 2);
}

TEST_CASE("many threads with a journal: each job is done once, and so it is written") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  QueueOptions options;
  options.lease_us = 500'000;
  options.max_crashes = 1000;
  constexpr int jobs = 400;
  std::atomic<int> left{jobs};
  std::atomic<int> twice{0};
  std::vector<std::atomic<int>> done(jobs);
  {
    auto queue = must_open(path, gf::system_clock(), options);
    std::vector<std::thread> threads;
    for (int index = 0; index < 2; ++index) {
      threads.emplace_back([&, index] {
        for (int count = index; count < jobs; count += 2) {
          auto job = job_of(static_cast<std::uint64_t>(count) + 1);
          job.user = std::to_string(count % 5);
          job.idempotency.key = std::to_string(count % 50);
          job.idempotency.scope = KeyScope::until_started;
          if (count % 7 == 0) job.delay_us = count;
          while (queue->enqueue(job).value().duplicate) std::this_thread::yield();
        }
      });
    }
    for (int index = 0; index < 3; ++index) {
      threads.emplace_back([&, index] {
        ReserveRequest request;
        request.worker = "worker " + std::to_string(index);
        request.timeout_us = 1000;
        unsigned turn = static_cast<unsigned>(index);
        while (left > 0) {
          const auto leases = queue->reserve(request).value();
          for (const auto& lease : leases) {
            if (++turn % 5 == 0) {
              (void)queue->release(lease.key);
            } else if (queue->complete(lease.key)) {
              if (++done[lease.key.id.low - 1] != 1) ++twice;
              --left;
            }
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  CHECK(twice == 0);
  auto queue = must_open(path, gf::system_clock(), options);
  const auto statistics = queue->statistics().value();
  CHECK(statistics.totals.done == jobs);
  CHECK(statistics.totals.accepted == jobs);
  CHECK(statistics.finished_kept == jobs);
}
