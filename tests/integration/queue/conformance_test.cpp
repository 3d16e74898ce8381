// What every queue promises, tried on each: in the process, in the process with a journal, in Redis.
#include "subjects.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

using namespace gf;
using namespace gf::queue;
using gf::test::ClusterSubject;
using gf::test::JournalSubject;
using gf::test::MemorySubject;
using gf::test::RedisSubject;

// The last two on one server, and on a cluster of three nodes.
#define ALL MemorySubject, JournalSubject, RedisSubject, ClusterSubject

namespace {

constexpr std::int64_t ms = 1000;
constexpr std::int64_t second_us = 1'000'000;

NewJob job_of(std::string payload, Priority priority = Priority::normal, std::string user = {}) {
  NewJob job;
  job.payload = std::move(payload);
  job.priority = priority;
  job.user = std::move(user);
  job.retry = {3, 0, 0};
  return job;
}

JobId put(Queue& queue, NewJob job) {
  const auto answer = queue.enqueue(std::move(job));
  REQUIRE_MESSAGE(answer.has_value(), answer.error().message);
  return answer.value().id;
}

std::optional<Lease> take(Queue& queue, std::int64_t lease_us = 0, const std::string& worker = "w") {
  ReserveRequest request;
  request.worker = worker;
  request.lease_us = lease_us;
  auto leases = queue.reserve(request);
  REQUIRE_MESSAGE(leases.has_value(), leases.error().message);
  if (leases.value().empty()) return std::nullopt;
  REQUIRE(leases.value().size() == 1);
  return std::move(leases.value()[0]);
}

Lease must_take(Queue& queue, std::int64_t lease_us = 0, const std::string& worker = "w") {
  auto lease = take(queue, lease_us, worker);
  REQUIRE(lease.has_value());
  return *lease;
}

JobState state_of(Queue& queue, const JobId& id) { return queue.get(id).value().state; }

/// That every job that was accepted is somewhere.
void check_sum(Queue& queue) {
  const auto s = queue.statistics().value();
  CHECK(s.totals.accepted == s.waiting[0] + s.waiting[1] + s.waiting[2] + s.delayed + s.running + s.totals.done +
                                 s.totals.cancelled + s.totals.expired + s.dead + s.totals.removed);
}

template <class T>
Status status_of(const Result<T>& result) {
  return result.has_value() ? Status::ok : result.error().status;
}

}  // namespace

TEST_CASE_TEMPLATE("a job comes back as it was given, by lane and in order", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  auto first = job_of(std::string("a\0b\xff", 4), Priority::low, "user \xc3\xa4");
  first.content_type = "application/x";
  first.tags = {"one", "two"};
  first.idempotency.key = "key";
  const auto low = put(queue, first);
  const auto normal = put(queue, job_of("n"));
  const auto high = put(queue, job_of("", Priority::high));
  CHECK(must_take(queue).key.id == high);
  CHECK(must_take(queue).key.id == normal);
  const auto lease = must_take(queue, 0, "worker 7");
  CHECK(lease.key.id == low);
  CHECK(lease.key.fencing_token == 1);
  CHECK(lease.payload == first.payload);
  CHECK(lease.user == first.user);
  CHECK(lease.priority == Priority::low);
  CHECK(lease.content_type == "application/x");
  CHECK(lease.tags == first.tags);
  CHECK(lease.attempt == 1);
  CHECK(lease.expires_at_us == subject.now_us() + 30 * second_us);
  CHECK_FALSE(take(queue).has_value());
  const auto record = queue.get(low).value();
  CHECK(record.state == JobState::running);
  CHECK(record.payload == first.payload);
  CHECK(record.tags == first.tags);
  CHECK(record.idempotency_key == "key");
  CHECK(record.worker == "worker 7");
  CHECK(record.lease_expires_us == lease.expires_at_us);
  subject.advance(5);
  REQUIRE(queue.report_progress(lease.key, {3, 4, "step"}).has_value());
  REQUIRE(queue.complete(lease.key, {"asset 1", "small"}).has_value());
  const auto done = queue.get(low).value();
  CHECK(done.state == JobState::done);
  CHECK(done.payload.empty());
  CHECK(done.result.reference == "asset 1");
  CHECK(done.result.bytes == "small");
  CHECK(done.progress.done == 3);
  CHECK(done.progress.note == "step");
  CHECK(done.finished_us == subject.now_us());
  CHECK(queue.get(JobId{9, 9}).error().status == Status::not_found);
  CHECK(queue
            .enqueue([&] {
              auto again = job_of("");
              again.id = high;
              return again;
            }())
            .error()
            .status == Status::already_exists);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("a holder whose lease is over can change nothing, and the tokens rise", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  const auto id = put(queue, job_of("x"));
  const auto first = must_take(queue, 100 * ms, "a");
  subject.advance(100 * ms - 1);
  REQUIRE(queue.extend(first.key, 100 * ms).has_value());
  subject.advance(100 * ms - 1);
  CHECK_FALSE(take(queue).has_value());
  subject.advance(1);
  const auto second = must_take(queue, second_us, "b");
  CHECK(second.key.id == id);
  CHECK(second.key.fencing_token == first.key.fencing_token + 1);
  CHECK(second.attempt == 1);  // A crash costs no attempt.
  const auto before = queue.get(id).value();
  CHECK(before.crashes == 1);
  const auto refuse_all = [&](const LeaseKey& key) {
    CHECK(status_of(queue.extend(key)) == Status::lease_lost);
    CHECK(status_of(queue.report_progress(key, {1, 2, "stale"})) == Status::lease_lost);
    CHECK(status_of(queue.complete(key)) == Status::lease_lost);
    CHECK(status_of(queue.fail(key, {Status::internal, "stale", FailureAction::by_rules})) == Status::lease_lost);
    CHECK(status_of(queue.release(key)) == Status::lease_lost);
  };
  refuse_all(first.key);
  refuse_all({id, 99});
  refuse_all({id, 0});
  refuse_all({JobId{1, 1}, 1});
  const auto after = queue.get(id).value();
  CHECK(after.progress.note.empty());
  CHECK(after.lease_expires_us == before.lease_expires_us);
  CHECK(after.history.size() == 1);
  CHECK(after.history[0].end == AttemptEnd::crashed);
  CHECK(after.history[0].worker == "a");
  REQUIRE(queue.complete(second.key).has_value());
  refuse_all(first.key);
  CHECK(status_of(queue.complete(second.key)) == Status::lease_lost);
  const auto statistics = queue.statistics().value();
  CHECK(statistics.totals.fenced_off == 26);
  CHECK(statistics.totals.recovered == 1);
  CHECK(statistics.totals.renewed == 1);
  CHECK(statistics.totals.done == 1);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("a delayed job has no lease and runs once, at its time", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  auto delayed = job_of("late");
  delayed.delay_us = 10 * second_us;
  const auto id = put(queue, delayed);
  CHECK(state_of(queue, id) == JobState::delayed);
  for (int turn = 0; turn < 9; ++turn) {
    subject.advance(second_us);
    CHECK_FALSE(take(queue).has_value());
  }
  put(queue, job_of("earlier"));
  subject.advance(second_us);
  CHECK(must_take(queue).payload == "earlier");  // It waits since before the delayed one could run.
  const auto lease = must_take(queue);
  CHECK(lease.key.id == id);
  CHECK(lease.key.fencing_token == 1);
  CHECK(queue.statistics().value().wait.quantile_us(1) <= 9 * second_us / 8 + second_us);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("a job that is too old for its queue, or for its lane, ends as expired", Subject, ALL) {
  QueueOptions options;
  options.max_age_us = 10 * second_us;
  options.lane_max_age_us = {0, 2 * second_us, 60 * second_us};
  Subject subject(options);
  auto& queue = subject.queue();
  const auto high = put(queue, job_of("as the queue", Priority::high));
  const auto normal = put(queue, job_of("as its lane"));
  const auto low = put(queue, job_of("as the queue, which is stricter", Priority::low));
  auto soon = job_of("its own deadline comes first");
  soon.deadline_us = second_us;
  const auto soon_id = put(queue, soon);
  const auto expired = [&] {
    (void)queue.sweep();
    std::vector<JobId> ids;
    for (const auto& id : {high, normal, low, soon_id}) {
      if (state_of(queue, id) == JobState::expired) ids.push_back(id);
    }
    return ids;
  };
  subject.advance(second_us);
  CHECK(expired() == std::vector<JobId>{soon_id});
  subject.advance(second_us);
  CHECK(expired() == std::vector<JobId>{normal, soon_id});
  subject.advance(7 * second_us);
  CHECK(expired().size() == 2);
  subject.advance(second_us);
  CHECK(expired().size() == 4);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("past its deadline a job ends as expired, without a run and with an event", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  auto past = job_of("past");
  past.deadline_us = -5;
  const auto put_past = queue.enqueue(past).value();
  CHECK(put_past.state == JobState::expired);
  CHECK(state_of(queue, put_past.id) == JobState::expired);
  auto soon = job_of("soon");
  soon.deadline_us = second_us;
  const auto soon_id = put(queue, soon);
  auto never = job_of("delayed beyond its deadline");
  never.deadline_us = second_us;
  never.delay_us = 2 * second_us;
  const auto never_id = put(queue, never);
  auto begun = job_of("begun in time", Priority::high);
  begun.deadline_us = second_us;
  put(queue, begun);
  const auto lease = must_take(queue);
  subject.advance(second_us);
  CHECK_FALSE(take(queue).has_value());
  CHECK(state_of(queue, soon_id) == JobState::expired);
  CHECK(state_of(queue, never_id) == JobState::expired);
  CHECK(queue.complete(lease.key).has_value());
  const auto page = queue.events(0, 100).value();
  CHECK(std::ranges::count_if(page.events, [](const auto& event) {
          return event.type == EventType::expired && event.status == Status::timed_out;
        }) == 3);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("a failure is retried within its bounds, by its class, and ends in the dead letters", Subject, ALL) {
  QueueOptions options;
  options.retry_rules[Status::database_error] = RetryRule::never;
  options.retry_rules[Status::corrupt_file] = RetryRule::retry;
  Subject subject(options);
  auto& queue = subject.queue();
  auto job = job_of("x");
  job.retry = {3, 100 * ms, 150 * ms};
  const auto id = put(queue, job);
  std::int64_t bound = 100 * ms;
  for (std::uint32_t attempt = 1; attempt <= 2; ++attempt) {
    const auto lease = must_take(queue);
    CHECK(lease.attempt == attempt);
    const auto failed =
        queue.fail(lease.key, {Status::network_error, fmt::format("try {}", attempt), FailureAction::by_rules}).value();
    CHECK(failed.retry_in_us >= 0);
    CHECK(failed.retry_in_us <= bound);
    bound = 150 * ms;
    if (failed.retry_in_us > 0) {
      CHECK(failed.state == JobState::delayed);
      subject.advance(failed.retry_in_us - 1);
      CHECK_FALSE(take(queue).has_value());
      subject.advance(1);
    }
  }
  const auto last = must_take(queue);
  subject.advance(7);
  const auto failed = queue.fail(last.key, {Status::network_error, "the end", FailureAction::by_rules}).value();
  CHECK(failed.state == JobState::dead);
  const auto dead = queue.get(id).value();
  CHECK(dead.end_status == Status::network_error);
  CHECK(dead.end_message == "the end");
  CHECK(dead.payload == "x");
  REQUIRE(dead.history.size() == 3);
  CHECK(dead.history[0].message == "try 1");
  CHECK(dead.history[2].ended_us - dead.history[2].started_us == 7);
  CHECK(dead.history[2].fencing_token == 3);
  CHECK(dead.history[2].worker == "w");

  const auto once = [&](Status status, FailureAction action, JobState expected) {
    put(queue, job_of("y"));
    const auto outcome = queue.fail(must_take(queue).key, {status, "no", action}).value();
    CHECK(outcome.state == expected);
    if (outcome.state == JobState::waiting) (void)queue.complete(must_take(queue).key);
  };
  once(Status::invalid_argument, FailureAction::by_rules, JobState::dead);
  once(Status::invalid_argument, FailureAction::retry, JobState::waiting);
  once(Status::network_error, FailureAction::dead_letter, JobState::dead);
  once(Status::database_error, FailureAction::by_rules, JobState::dead);
  once(Status::corrupt_file, FailureAction::by_rules, JobState::waiting);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("crashes are counted apart: they cost no attempt, and end in the dead letters at their own limit",
                   Subject, ALL) {
  QueueOptions options;
  options.max_crashes = 3;
  Subject subject(options);
  auto& queue = subject.queue();
  auto job = job_of("poison");
  job.retry.max_attempts = 1;
  const auto id = put(queue, job);
  for (int crash = 1; crash <= 2; ++crash) {
    must_take(queue, 10 * ms, fmt::format("host {}", crash));
    subject.advance(10 * ms);
  }
  const auto third = must_take(queue, 10 * ms, "host 3");
  CHECK(third.attempt == 1);
  subject.advance(10 * ms);
  CHECK_FALSE(take(queue).has_value());
  const auto dead = queue.get(id).value();
  CHECK(dead.state == JobState::dead);
  CHECK(dead.end_message.starts_with("worker died"));
  CHECK(dead.end_message.find("host 3") != std::string::npos);
  CHECK(dead.history.size() == 3);
  // A release counts as a crash does, keeps the place, and may name a later time.
  const auto other = put(queue, job_of("a"));
  put(queue, job_of("b"));
  CHECK(queue.release(must_take(queue).key).value().state == JobState::waiting);
  const auto again = must_take(queue);
  CHECK(again.key.id == other);
  CHECK(queue.release(again.key, 50 * ms).value().state == JobState::delayed);
  CHECK(must_take(queue).payload == "b");
  subject.advance(50 * ms);
  CHECK(queue.release(must_take(queue).key).value().state == JobState::dead);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("cancel ends what waits, tells who runs, and leaves nothing else behind", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  const auto waiting = put(queue, job_of("w"));
  CHECK(queue.cancel(waiting).value() == CancelOutcome::cancelled);
  CHECK(status_of(queue.cancel(waiting)) == Status::wrong_state);
  CHECK(status_of(queue.cancel(JobId{3, 3})) == Status::not_found);
  auto later = job_of("d");
  later.delay_us = second_us;
  CHECK(queue.cancel(put(queue, later)).value() == CancelOutcome::cancelled);
  CHECK_FALSE(take(queue).has_value());
  // Each way in which a run can end after the wish.
  const auto run = [&](auto&& ending) {
    const auto id = put(queue, job_of("r"));
    const auto lease = must_take(queue, 10 * ms);
    CHECK_FALSE(queue.extend(lease.key, 10 * ms).value().cancel_requested);
    CHECK(queue.cancel(id).value() == CancelOutcome::requested);
    CHECK(queue.cancel(id).value() == CancelOutcome::requested);
    CHECK(queue.extend(lease.key, 10 * ms).value().cancel_requested);
    ending(lease.key);
    CHECK_FALSE(take(queue).has_value());
    return state_of(queue, id);
  };
  CHECK(run([&](const LeaseKey& key) {
          CHECK(queue.fail(key, {Status::cancelled, "", FailureAction::by_rules}).value().state == JobState::cancelled);
        }) == JobState::cancelled);
  CHECK(run([&](const LeaseKey& key) { CHECK(queue.release(key).value().state == JobState::cancelled); }) ==
        JobState::cancelled);
  CHECK(run([&](const LeaseKey&) { subject.advance(20 * ms); }) == JobState::cancelled);
  CHECK(run([&](const LeaseKey& key) { CHECK(queue.complete(key).has_value()); }) == JobState::done);
  // The same id again, once it is forgotten, is another job.
  JobFilter over{.state = JobState::cancelled};
  CHECK(queue.purge(over).value().changed == 5);
  auto same = job_of("again");
  same.id = waiting;
  put(queue, same);
  const auto lease = must_take(queue);
  CHECK(lease.payload == "again");
  CHECK_FALSE(queue.extend(lease.key).value().cancel_requested);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("an idempotency key is held for its scope and freed by its own job, at every end", Subject, ALL) {
  QueueOptions options;
  options.max_crashes = 1;
  Subject subject(options);
  auto& queue = subject.queue();
  const auto keyed = [&](const std::string& key, KeyScope scope, OnDuplicate duplicate = OnDuplicate::join) {
    auto job = job_of("k");
    job.retry.max_attempts = 1;
    job.idempotency = {key, scope, 10 * second_us, duplicate};
    return job;
  };
  // By name, what ends a job.
  const std::vector<std::pair<std::string, std::function<void(const JobId&)>>> endings = {
      {"done", [&](const JobId&) { (void)queue.complete(must_take(queue).key); }},
      {"dead",
       [&](const JobId&) {
         (void)queue.fail(must_take(queue).key, {Status::internal, "x", FailureAction::by_rules});
       }},
      {"crashed",
       [&](const JobId&) {
         must_take(queue, 10 * ms);
         subject.advance(10 * ms);
         (void)queue.sweep();
       }},
      {"cancelled", [&](const JobId& id) { CHECK(queue.cancel(id).has_value()); }},
  };
  for (const auto& [name, ending] : endings) {
    for (const auto scope : {KeyScope::for_time, KeyScope::until_started, KeyScope::until_finished}) {
      CAPTURE(name);
      const auto scope_number = static_cast<int>(scope);
      CAPTURE(scope_number);
      const auto key = name + std::to_string(scope_number);
      const auto first = queue.enqueue(keyed(key, scope)).value();
      CHECK_FALSE(first.duplicate);
      const auto second = queue.enqueue(keyed(key, scope)).value();
      CHECK(second.duplicate);
      CHECK(second.id == first.id);
      CHECK(second.state == JobState::waiting);
      const auto refused = queue.enqueue(keyed(key, scope, OnDuplicate::refuse));
      CHECK(status_of(refused) == Status::already_exists);
      CHECK(refused.error().message.find(to_text(first.id)) != std::string::npos);
      ending(first.id);
      const auto third = queue.enqueue(keyed(key, scope)).value();
      CHECK(third.duplicate == (scope == KeyScope::for_time));
      if (scope == KeyScope::for_time) {
        subject.advance(10 * second_us);
        CHECK_FALSE(queue.enqueue(keyed(key, scope)).value().duplicate);
      }
      (void)queue.complete(must_take(queue).key);
    }
  }
  // Until it is started: freed by the take, and what a later end frees is not another's.
  const auto one = put(queue, keyed("s", KeyScope::until_started));
  const auto lease = must_take(queue);
  const auto two = queue.enqueue(keyed("s", KeyScope::until_started)).value();
  CHECK_FALSE(two.duplicate);
  CHECK(two.id != one);
  REQUIRE(queue.complete(lease.key).has_value());
  CHECK(queue.enqueue(keyed("s", KeyScope::until_started)).value().id == two.id);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("limits of lanes and queue are exact, and a refusal says which", Subject, ALL) {
  QueueOptions options;
  options.depth = {5, 50};
  options.lane_depth[2] = {2, 0};
  options.reserved_for_high = 2;
  options.max_payload_bytes = 60;
  Subject subject(options);
  auto& queue = subject.queue();
  const auto refused = [&](NewJob job) {
    const auto answer = queue.enqueue(std::move(job));
    REQUIRE(answer.has_error());
    CHECK(answer.error().status == Status::queue_full);
    return answer.error().message;
  };
  put(queue, job_of("1", Priority::low));
  put(queue, job_of("2", Priority::low));
  CHECK(refused(job_of("3", Priority::low)) == "the lane low has 2 jobs of at most 2");
  put(queue, job_of("3"));
  CHECK(refused(job_of("4")) == "the queue has 3 jobs of at most 3");
  put(queue, job_of("4", Priority::high));
  put(queue, job_of("5", Priority::high));
  CHECK(refused(job_of("6", Priority::high)) == "the queue has 5 jobs of at most 5");
  (void)queue.complete(must_take(queue).key);
  CHECK(refused(job_of(std::string(60, 'x'), Priority::high)) == "the queue has 4 bytes of at most 50");
  CHECK(status_of(queue.enqueue(job_of(std::string(61, 'x')))) == Status::payload_too_large);
  const auto totals = queue.statistics().value().totals;
  CHECK(totals.accepted == 5);
  CHECK(totals.rejected == 4);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("what is dropped for want of room is a dead letter, the oldest of the lowest lane", Subject, ALL) {
  QueueOptions options;
  options.depth = {3, 0};
  options.overflow = Overflow::drop_oldest_lowest;
  Subject subject(options);
  auto& queue = subject.queue();
  const auto low = put(queue, job_of("l", Priority::low, "a"));
  subject.advance(1);
  const auto low_2 = put(queue, job_of("l2", Priority::low, "b"));
  subject.advance(1);
  const auto normal = put(queue, job_of("n"));
  put(queue, job_of("h", Priority::high));
  CHECK(state_of(queue, low) == JobState::dead);
  CHECK(queue.get(low).value().end_status == Status::queue_full);
  CHECK(queue.get(low).value().payload == "l");
  put(queue, job_of("l3", Priority::low));
  CHECK(state_of(queue, low_2) == JobState::dead);
  put(queue, job_of("h2", Priority::high));
  put(queue, job_of("h3", Priority::high));
  CHECK(state_of(queue, normal) == JobState::dead);
  // Only high ones are left: a lower one does not push them out.
  CHECK(status_of(queue.enqueue(job_of("n2"))) == Status::queue_full);
  CHECK(queue.statistics().value().totals.dropped == 4);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("full dead letters refuse new jobs, or let the oldest go and say so", Subject, ALL) {
  QueueOptions options;
  options.max_dead = 2;
  const auto die = [](Queue& queue, const std::string& payload) {
    const auto id = put(queue, job_of(payload));
    CHECK(queue.fail(must_take(queue).key, {Status::internal, "broken", FailureAction::by_rules}).value().state ==
          JobState::dead);
    return id;
  };
  {
    Subject subject(options);
    auto& queue = subject.queue();
    const auto first = die(queue, "1");
    put(queue, job_of("in before"));
    put(queue, job_of("in before too"));
    CHECK(queue.fail(must_take(queue).key, {Status::internal, "", FailureAction::by_rules}).has_value());
    const auto refused = queue.enqueue(job_of("2"));
    CHECK(status_of(refused) == Status::queue_full);
    CHECK(refused.error().message.starts_with("the dead letters are full: 2 of at most 2"));
    // What is in still ends there: nothing is lost.
    CHECK(queue.fail(must_take(queue).key, {Status::internal, "", FailureAction::by_rules}).value().state ==
          JobState::dead);
    CHECK(queue.statistics().value().dead == 3);
    REQUIRE(queue.requeue(first).has_value());
    CHECK(queue.purge({.state = JobState::dead}).value().changed == 2);
    CHECK(queue.enqueue(job_of("2")).has_value());
    CHECK(queue.statistics().value().totals.removed == 2);
    check_sum(queue);
  }
  options.dead_overflow = DeadOverflow::expire_oldest;
  options.max_dead_us = second_us;
  Subject subject(options);
  auto& queue = subject.queue();
  const auto first = die(queue, "1");
  subject.advance(1);
  die(queue, "2");
  subject.advance(1);
  const auto third = die(queue, "3");
  CHECK(status_of(queue.get(first)) == Status::not_found);
  CHECK(queue.statistics().value().dead == 2);
  CHECK(queue.statistics().value().totals.removed == 1);
  subject.advance(second_us);
  CHECK(status_of(queue.get(third)) == Status::not_found);
  CHECK(queue.statistics().value().dead == 0);
  CHECK(queue.statistics().value().dead_bytes == 0);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("dead letters are found, put back with their history and removed, by filter and in pages", Subject,
                   ALL) {
  QueueOptions options;
  options.max_dead = 0;
  Subject subject(options);
  auto& queue = subject.queue();
  constexpr int count = 1200;
  std::vector<NewJob> jobs;
  for (int index = 0; index < count; ++index) {
    auto job = job_of(std::to_string(index), Priority::normal, index % 3 == 0 ? "alice" : "bob");
    if (index % 2 == 0) job.tags = {"x", "even"};
    jobs.push_back(std::move(job));
  }
  for (const auto& answer : queue.enqueue_many(std::move(jobs))) REQUIRE(answer.has_value());
  ReserveRequest many;
  many.count = 1000;
  for (;;) {
    const auto leases = queue.reserve(many).value();
    if (leases.empty()) break;
    for (const auto& lease : leases) {
      subject.advance(1);
      REQUIRE(queue
                  .fail(lease.key, {lease.user == "bob" ? Status::internal : Status::not_finite, "broken",
                                    FailureAction::dead_letter})
                  .has_value());
    }
  }
  const auto count_of = [&](const JobFilter& filter) {
    std::set<JobId> seen;
    std::string cursor;
    do {
      const auto page = queue.list(filter, cursor, 250).value();
      for (const auto& record : page.jobs) {
        CHECK(record.payload.empty());
        CHECK(seen.insert(record.id).second);
      }
      cursor = page.cursor;
    } while (!cursor.empty());
    return seen.size();
  };
  CHECK(count_of({.state = JobState::dead}) == count);
  CHECK(count_of({.state = JobState::dead, .user = "alice"}) == count / 3);
  CHECK(count_of({.state = JobState::dead, .tag = "even"}) == count / 2);
  CHECK(count_of({.state = JobState::dead, .user = "alice", .tag = "even"}) == count / 6);
  CHECK(count_of({.state = JobState::dead, .status = Status::not_finite}) == count / 3);
  CHECK(count_of({.state = JobState::dead, .older_than_us = count - 500}) == 500 - 1 - 0);
  CHECK(count_of({.state = JobState::waiting}) == 0);
  const auto all = [&](auto&& call) {
    std::uint64_t changed = 0;
    std::string cursor;
    do {
      const auto outcome = call(cursor).value();
      changed += outcome.changed;
      cursor = outcome.cursor;
    } while (!cursor.empty());
    return changed;
  };
  CHECK(all([&](const std::string& cursor) {
          return queue.requeue_many({.state = JobState::dead, .user = "alice"}, cursor);
        }) == count / 3);
  CHECK(count_of({.state = JobState::waiting}) == count / 3);
  const auto lease = must_take(queue);
  CHECK(lease.user == "alice");
  CHECK(lease.attempt == 1);
  CHECK(lease.key.fencing_token == 2);
  REQUIRE(queue.fail(lease.key, {Status::internal, "again", FailureAction::dead_letter}).has_value());
  const auto twice = queue.get(lease.key.id).value();
  REQUIRE(twice.history.size() == 2);
  CHECK(twice.history[0].message == "broken");
  CHECK(twice.history[1].message == "again");
  CHECK(all([&](const std::string& cursor) { return queue.purge({.state = JobState::dead, .user = "bob"}, cursor); }) ==
        count * 2 / 3);
  CHECK(all([&](const std::string& cursor) { return queue.purge({.state = JobState::waiting}, cursor); }) ==
        count / 3 - 1);
  CHECK(status_of(queue.requeue(JobId{5, 5})) == Status::not_found);
  CHECK(status_of(queue.requeue_many({.state = JobState::done})) == Status::invalid_argument);
  CHECK(status_of(queue.purge({.state = JobState::running})) == Status::unsupported);
  CHECK(status_of(queue.list({}, "no cursor")) == Status::invalid_argument);
  const auto statistics = queue.statistics().value();
  CHECK(statistics.dead == 1);
  CHECK(statistics.payload_bytes == 0);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("a paused queue accepts and hands nothing out", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  REQUIRE(queue.set_paused(true).has_value());
  put(queue, job_of("x"));
  CHECK_FALSE(take(queue).has_value());
  CHECK(queue.statistics().value().paused);
  REQUIRE(queue.set_paused(false).has_value());
  const auto lease = must_take(queue);
  CHECK(queue.drain(0).value() == false);
  REQUIRE(queue.complete(lease.key).has_value());
  CHECK(queue.drain(0).value());
  queue.close();
  CHECK(status_of(queue.enqueue(job_of("y"))) == Status::shutting_down);
  CHECK(status_of(queue.reserve({})) == Status::shutting_down);
}

TEST_CASE_TEMPLATE("events tell every step in order, with no gap in their numbers", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  const auto id = put(queue, job_of("x"));
  REQUIRE(queue.fail(must_take(queue).key, {Status::network_error, "", FailureAction::by_rules}).has_value());
  REQUIRE(queue.release(must_take(queue).key).has_value());
  must_take(queue, 10 * ms);
  subject.advance(10 * ms);
  REQUIRE(queue.fail(must_take(queue).key, {Status::internal, "", FailureAction::by_rules}).has_value());
  REQUIRE(queue.requeue(id).has_value());
  REQUIRE(queue.complete(must_take(queue).key).has_value());
  const auto first = queue.events(0, 3).value();
  CHECK(first.events.size() == 3);
  CHECK(first.next == 3);
  auto rest = queue.events(first.next, 100).value().events;
  auto all = first.events;
  all.insert(all.end(), rest.begin(), rest.end());
  using enum EventType;
  const std::vector<std::pair<EventType, std::uint64_t>> expected = {
      {accepted, 0},  {started, 1}, {retried, 1}, {started, 2},  {released, 2}, {started, 3},
      {recovered, 3}, {started, 4}, {dead, 4},    {requeued, 4}, {started, 5},  {done, 5}};
  REQUIRE(all.size() == expected.size());
  for (std::size_t at = 0; at < all.size(); ++at) {
    CAPTURE(at);
    CHECK(all[at].sequence == at + 1);
    CHECK(all[at].type == expected[at].first);
    CHECK(all[at].fencing_token == expected[at].second);
    CHECK(all[at].id == id);
  }
}

TEST_CASE_TEMPLATE("users take turns, are limited each for themselves, and keep their order", Subject, ALL) {
  QueueOptions options;
  options.lanes.user_start_rate = TokenBucketLimits{.tokens_per_period = 1, .period_us = 100 * ms, .burst = 2};
  options.lanes.user_running_limit = 3;
  Subject subject(options);
  auto& queue = subject.queue();
  constexpr int each = 60;
  for (int index = 0; index < each; ++index) {
    for (const auto* user : {"a", "b", "c"}) put(queue, job_of(std::to_string(index), Priority::normal, user));
  }
  std::map<std::string, int> next;
  std::map<std::string, std::vector<std::int64_t>> starts;
  std::vector<Lease> running;
  int out = 0;
  for (int turn = 0; turn < 20'000 && out < 3 * each; ++turn) {
    if (auto lease = take(queue)) {
      CHECK(lease->payload == std::to_string(next[lease->user]++));
      starts[lease->user].push_back(subject.now_us());
      running.push_back(std::move(*lease));
      for (const auto* user : {"a", "b", "c"}) {
        REQUIRE(std::ranges::count_if(running, [&](const Lease& of) { return of.user == user; }) <= 3);
        REQUIRE(queue.user_statistics(user).value().running ==
                static_cast<std::uint64_t>(
                    std::ranges::count_if(running, [&](const Lease& of) { return of.user == user; })));
      }
      continue;
    }
    // Nobody may start: some end, and time passes.
    for (auto& lease : running) {
      if (lease.user == "c" && turn % 3 != 0) continue;  // c is slow, and its limit of running jobs is felt.
      REQUIRE(queue.complete(lease.key).has_value());
      ++out;
      lease.user.clear();
    }
    std::erase_if(running, [](const Lease& lease) { return lease.user.empty(); });
    subject.advance(35 * ms);
  }
  CHECK(out == 3 * each);
  for (const auto& [user, times] : starts) {
    CAPTURE(user);
    // In any window of length T at most burst + rate * T.
    for (std::size_t from = 0; from < times.size(); ++from) {
      for (std::size_t to = from; to < times.size(); ++to) {
        REQUIRE(static_cast<std::int64_t>(to - from + 1) <= 2 + (times[to] - times[from]) / (100 * ms));
      }
    }
  }
  // A new rate holds at once.
  for (int index = 0; index < 50; ++index) put(queue, job_of("", Priority::normal, "a"));
  options.lanes.user_start_rate->period_us = 1 * ms;
  options.lanes.user_running_limit = 0;
  REQUIRE(queue.configure(options).has_value());
  int started = 0;
  for (int turn = 0; turn < 30; ++turn) {
    subject.advance(1 * ms);
    while (take(queue)) ++started;
  }
  CHECK(started >= 28);
  CHECK(started <= 32);
  check_sum(queue);
}

TEST_CASE_TEMPLATE("bad input is refused by name and changes nothing", Subject, ALL) {
  Subject subject;
  auto& queue = subject.queue();
  const auto refused = [&](auto&& change) {
    auto job = job_of("x");
    change(job);
    const auto answer = queue.enqueue(std::move(job));
    REQUIRE(answer.has_error());
    CHECK(answer.error().status == Status::invalid_argument);
    return answer.error().message;
  };
  CHECK(refused([](NewJob& job) { job.delay_us = -1; }).starts_with("delay_us is -1"));
  CHECK(refused([](NewJob& job) { job.user = std::string("a\0b", 3); }).starts_with("user is"));
  CHECK(refused([](NewJob& job) { job.user = "a\x01"; }).starts_with("user is"));
  CHECK(refused([](NewJob& job) { job.user = "\xff"; }).starts_with("user is"));
  CHECK(refused([](NewJob& job) { job.user = std::string(129, 'u'); }).starts_with("user has 129 bytes"));
  CHECK(refused([](NewJob& job) { job.tags = {""}; }).starts_with("tag is empty"));
  CHECK(refused([](NewJob& job) { job.tags.assign(17, "t"); }).starts_with("there are 17 tags"));
  CHECK(refused([](NewJob& job) { job.priority = static_cast<Priority>(3); }).starts_with("priority is 3"));
  CHECK(refused([](NewJob& job) { job.retry.max_attempts = 0; }).starts_with("max_attempts is 0"));
  CHECK(refused([](NewJob& job) {
          job.idempotency = {"k", KeyScope::for_time, 0, OnDuplicate::join};
        }).starts_with("idempotency ttl_us is 0"));
  CHECK(refused([](NewJob& job) { job.deadline_us = max_delay_us + 1; }).starts_with("deadline_us is"));
  ReserveRequest request;
  request.count = 0;
  CHECK(status_of(queue.reserve(request)) == Status::invalid_argument);
  request.count = 1001;
  CHECK(status_of(queue.reserve(request)) == Status::invalid_argument);
  request.count = 1;
  request.lease_us = -1;
  CHECK(status_of(queue.reserve(request)) == Status::invalid_argument);
  CHECK(status_of(queue.release({JobId{1, 1}, 1}, -1)) == Status::invalid_argument);
  CHECK(status_of(queue.extend({JobId{1, 1}, 1}, -1)) == Status::invalid_argument);
  QueueOptions options;
  options.lease_us = 0;
  CHECK(status_of(queue.configure(options)) == Status::invalid_argument);
  put(queue, job_of("x"));
  const auto lease = must_take(queue);
  CHECK(status_of(queue.complete(lease.key, {"", std::string(5000, 'r')})) == Status::payload_too_large);
  CHECK(queue.complete(lease.key).has_value());
  CHECK(queue.statistics().value().totals.accepted == 1);
}

// ---- Against a model ------------------------------------------------------------------------------------------------

namespace {

/// The queue in as few words as possible, every step a search through all jobs.
struct Model {
  struct Job {
    JobId id;
    std::string user;
    std::size_t lane = 0;
    JobState state = JobState::waiting;
    std::uint64_t sequence = 0;
    std::int64_t since_us = 0;
    std::int64_t due_us = 0;  // Of a delayed one; of a running one, the end of its lease.
    std::int64_t deadline_us = 0;
    std::uint64_t token = 0;
    std::uint32_t failures = 0;
    std::uint32_t crashes = 0;
    std::uint32_t max_attempts = 0;
    bool cancel = false;
  };

  QueueOptions options;
  std::map<JobId, Job> jobs;
  std::array<std::vector<std::string>, lane_count> rings;
  std::map<std::string, std::uint32_t> running;
  std::uint64_t sequence = 0;
  bool last_was_aged = false;

  Job* head(std::size_t lane, const std::string& user) {
    Job* best = nullptr;
    for (auto& [id, job] : jobs) {
      if (job.state == JobState::waiting && job.lane == lane && job.user == user &&
          (best == nullptr || job.sequence < best->sequence)) {
        best = &job;
      }
    }
    return best;
  }
  void refresh(const std::string& user) {
    const auto limit = options.lanes.user_running_limit;
    const bool parked = limit != 0 && running[user] >= limit;
    for (std::size_t lane = 0; lane < lane_count; ++lane) {
      const bool wanted = !parked && head(lane, user) != nullptr;
      const auto at = std::ranges::find(rings[lane], user);
      if (wanted && at == rings[lane].end()) rings[lane].push_back(user);
      if (!wanted && at != rings[lane].end()) rings[lane].erase(at);
    }
  }
  void wait(Job& job, bool fresh) {
    if (fresh) job.sequence = ++sequence;
    job.state = JobState::waiting;
    refresh(job.user);
  }
  void end(Job& job, JobState state) {
    job.state = state;
    refresh(job.user);
  }
  void end_run(Job& job) {
    job.state = JobState::dead;  // For the moment: not waiting.
    --running[job.user];
    refresh(job.user);
  }
  void put_back(Job& job, std::int64_t delay_us, std::int64_t now) {
    end_run(job);
    ++job.crashes;
    if (job.cancel) return end(job, JobState::cancelled);
    if (job.crashes >= options.max_crashes) return end(job, JobState::dead);
    if (delay_us > 0) {
      job.state = JobState::delayed;
      job.since_us = job.due_us = now + delay_us;
    } else {
      wait(job, false);
    }
  }
  void sweep(std::int64_t now) {
    for (;;) {
      Job* next = nullptr;
      for (auto& [id, job] : jobs) {
        if ((job.state == JobState::delayed || job.state == JobState::running) && job.due_us <= now &&
            (next == nullptr || job.due_us < next->due_us)) {
          next = &job;
        }
      }
      if (next == nullptr) break;
      if (next->state == JobState::delayed) {
        next->since_us = next->due_us;
        wait(*next, true);
      } else {
        put_back(*next, 0, now);
      }
    }
    for (auto& [id, job] : jobs) {
      if ((job.state == JobState::waiting || job.state == JobState::delayed) && job.deadline_us != 0 &&
          job.deadline_us <= now) {
        end(job, JobState::expired);
      }
    }
  }
  Job* take(std::int64_t now) {
    auto lane = lane_count;
    for (std::size_t at = 0; at < lane_count && lane == lane_count; ++at) {
      if (!rings[at].empty()) lane = at;
    }
    if (lane == lane_count) return nullptr;
    Job* aged = nullptr;
    const std::array<std::int64_t, lane_count> bounds{0, options.lanes.normal_max_wait_us,
                                                      options.lanes.low_max_wait_us};
    std::int64_t best_us = now;
    for (auto at = lane + 1; at < lane_count && !last_was_aged; ++at) {
      for (const auto& user : rings[at]) {
        auto* job = head(at, user);
        if (bounds[at] != 0 && job->since_us + bounds[at] < best_us) {
          best_us = job->since_us + bounds[at];
          aged = job;
        }
      }
    }
    last_was_aged = aged != nullptr;
    auto* job = aged != nullptr ? aged : head(lane, rings[lane].front());
    std::erase(rings[job->lane], job->user);
    job->state = JobState::running;
    refresh(job->user);
    ++running[job->user];
    refresh(job->user);
    ++job->token;
    return job;
  }
  /// What another process finds: what ran has crashed, and users take turns in the order of their oldest jobs.
  void reopen(std::int64_t now) {
    for (auto& ring : rings) ring.clear();
    running.clear();
    last_was_aged = false;
    std::vector<Job*> active;
    for (auto& [id, job] : jobs) {
      if (!is_over(job.state)) active.push_back(&job);
    }
    std::ranges::sort(active, {}, [](const Job* job) { return job->sequence; });
    std::vector<Job*> waiting;
    for (auto* job : active) {
      if (job->state == JobState::waiting) {
        waiting.push_back(job);
        job->state = JobState::delayed;  // For the moment: it comes in its turn.
      } else if (job->state == JobState::running) {
        waiting.push_back(job);
      }
    }
    for (auto* job : waiting) {
      if (job->state == JobState::delayed) {
        wait(*job, false);
      } else {
        ++running[job->user];
        put_back(*job, 0, now);
      }
    }
  }
  Job* held(const LeaseKey& key) {
    const auto found = jobs.find(key.id);
    if (found == jobs.end() || found->second.state != JobState::running || found->second.token != key.fencing_token)
      return nullptr;
    return &found->second;
  }
};

template <class Subject>
void play(std::uint32_t seed, int steps) {
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto draw = [&random](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  QueueOptions options;
  options.lanes.normal_max_wait_us = 40 * ms;
  options.lanes.low_max_wait_us = seed % 3 == 0 ? 0 : 90 * ms;
  options.lanes.user_running_limit = seed % 2 == 0 ? 2 : 0;
  options.depth.jobs = 12;
  options.max_crashes = 2;
  Subject subject(options);
  Model model;
  model.options = options;
  std::vector<LeaseKey> keys;  // All that were ever given.
  std::uint64_t next = 0;
  const auto any_key = [&] {
    // Mostly a fresh one.
    const auto from = static_cast<std::int64_t>(keys.size());
    return keys[static_cast<std::size_t>(draw(draw(0, 3) == 0 ? 0 : std::max<std::int64_t>(from - 4, 0), from - 1))];
  };
  for (int step = 0; step < steps; ++step) {
    CAPTURE(step);
    subject.advance(draw(1, 9 * ms));
    const auto now = subject.now_us();
    if constexpr (requires { subject.reopen(); }) {
      if (draw(0, 24) == 0) {
        subject.reopen();
        model.reopen(now);
      }
    }
    auto& queue = subject.queue();
    const auto kind = draw(0, 11);
    if (kind <= 3) {
      NewJob job = job_of("p", static_cast<Priority>(draw(0, 2)), std::string(1, static_cast<char>('a' + draw(0, 3))));
      job.id = JobId{seed, ++next};
      job.retry = {static_cast<std::uint32_t>(draw(1, 3)), 5 * ms, 20 * ms};
      if (draw(0, 3) == 0) job.delay_us = draw(1, 60 * ms);
      if (draw(0, 3) == 0) job.deadline_us = draw(1, 120 * ms);
      model.sweep(now);
      const auto depth = std::ranges::count_if(model.jobs, [](const auto& of) {
        return of.second.state == JobState::waiting || of.second.state == JobState::delayed;
      });
      const auto answer = queue.enqueue(job);
      REQUIRE(answer.has_value() == (depth < 12));
      if (answer) {
        Model::Job mine;
        mine.id = job.id;
        mine.user = job.user;
        mine.lane = static_cast<std::size_t>(job.priority);
        mine.since_us = now + job.delay_us;
        mine.due_us = now + job.delay_us;
        mine.deadline_us = job.deadline_us ? now + *job.deadline_us : 0;
        mine.max_attempts = job.retry.max_attempts;
        mine.state = JobState::delayed;
        auto& put_in = model.jobs[job.id] = mine;
        if (job.delay_us == 0) model.wait(put_in, true);
      }
    } else if (kind <= 6) {
      model.sweep(now);
      const auto lease = take(queue, 70 * ms);
      auto* expected = model.take(now);
      REQUIRE(lease.has_value() == (expected != nullptr));
      if (lease) {
        REQUIRE(lease->key.id == expected->id);
        REQUIRE(lease->key.fencing_token == expected->token);
        REQUIRE(lease->attempt == expected->failures + 1);
        expected->due_us = now + 70 * ms;
        keys.push_back(lease->key);
      }
    } else if (kind == 7 && !keys.empty()) {
      const auto key = any_key();
      model.sweep(now);
      auto* job = model.held(key);
      const auto answer = queue.complete(key);
      REQUIRE(answer.has_value() == (job != nullptr));
      if (job != nullptr) {
        model.end_run(*job);
        model.end(*job, JobState::done);
      }
    } else if (kind == 8 && !keys.empty()) {
      const auto key = any_key();
      const bool retryable = draw(0, 3) != 0;
      model.sweep(now);
      auto* job = model.held(key);
      const auto answer =
          queue.fail(key, {retryable ? Status::network_error : Status::internal, "f", FailureAction::by_rules});
      REQUIRE(answer.has_value() == (job != nullptr));
      if (job != nullptr) {
        model.end_run(*job);
        ++job->failures;
        if (job->cancel) {
          model.end(*job, JobState::cancelled);
        } else if (!retryable || job->failures >= job->max_attempts) {
          model.end(*job, JobState::dead);
        } else {
          const auto wait_us = answer.value().retry_in_us;
          REQUIRE(wait_us <= backoff_bound_us({3, 5 * ms, 20 * ms}, job->failures));
          job->since_us = job->due_us = now + wait_us;
          job->state = JobState::delayed;
          if (wait_us == 0) model.wait(*job, true);
        }
        REQUIRE(answer.value().state == job->state);
      }
    } else if (kind == 9 && !keys.empty()) {
      const auto key = any_key();
      model.sweep(now);
      auto* job = model.held(key);
      if (draw(0, 1) == 0) {
        const auto delay_us = draw(0, 1) == 0 ? 0 : draw(1, 30 * ms);
        const auto answer = queue.release(key, delay_us);
        REQUIRE(answer.has_value() == (job != nullptr));
        if (job != nullptr) {
          model.put_back(*job, delay_us, now);
          REQUIRE(answer.value().state == job->state);
        }
      } else {
        const auto answer = queue.extend(key, 50 * ms);
        REQUIRE(answer.has_value() == (job != nullptr));
        if (job != nullptr) {
          job->due_us = now + 50 * ms;
          REQUIRE(answer.value().cancel_requested == job->cancel);
        }
      }
    } else if (kind == 10 && next > 0) {
      const JobId id{seed, static_cast<std::uint64_t>(draw(1, static_cast<std::int64_t>(next)))};
      model.sweep(now);
      const auto found = model.jobs.find(id);
      const auto answer = queue.cancel(id);
      if (found == model.jobs.end()) {
        REQUIRE(status_of(answer) == Status::not_found);
      } else if (is_over(found->second.state)) {
        REQUIRE(status_of(answer) == Status::wrong_state);
      } else if (found->second.state == JobState::running) {
        REQUIRE(answer.value() == CancelOutcome::requested);
        found->second.cancel = true;
      } else {
        REQUIRE(answer.value() == CancelOutcome::cancelled);
        model.end(found->second, JobState::cancelled);
      }
    } else if (kind == 11 && next > 0) {
      const JobId id{seed, static_cast<std::uint64_t>(draw(1, static_cast<std::int64_t>(next)))};
      model.sweep(now);
      const auto found = model.jobs.find(id);
      const auto answer = queue.requeue(id);
      REQUIRE(answer.has_value() == (found != model.jobs.end() && found->second.state == JobState::dead));
      if (answer) {
        auto& job = found->second;
        job.failures = job.crashes = 0;
        job.cancel = false;
        job.deadline_us = 0;
        job.since_us = now;
        model.wait(job, true);
      }
    }
    if (step % 16 == 15 || step + 1 == steps) {
      model.sweep(now);
      std::array<std::uint64_t, state_count> by_state{};
      for (const auto& [id, job] : model.jobs) {
        ++by_state[static_cast<std::size_t>(job.state)];
        const auto record = queue.get(id);
        REQUIRE(record.has_value());
        REQUIRE(record.value().state == job.state);
        REQUIRE(record.value().failures == job.failures);
        REQUIRE(record.value().crashes == job.crashes);
        REQUIRE(record.value().fencing_token == job.token);
      }
      const auto statistics = queue.statistics().value();
      REQUIRE(statistics.waiting[0] + statistics.waiting[1] + statistics.waiting[2] == by_state[1]);
      REQUIRE(statistics.delayed == by_state[0]);
      REQUIRE(statistics.running == by_state[2]);
      REQUIRE(statistics.totals.done == by_state[3]);
      REQUIRE(statistics.totals.cancelled == by_state[4]);
      REQUIRE(statistics.totals.expired == by_state[5]);
      REQUIRE(statistics.dead == by_state[6]);
      check_sum(queue);
    }
  }
}

}  // namespace

TEST_CASE("property: the in-process queue agrees with the model in a thousand random histories") {
  for (std::uint32_t seed = 1; seed <= 1000; ++seed) play<MemorySubject>(seed, 200);
}

TEST_CASE("property: the queue with a journal agrees with the model, closed and opened again at any step") {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) play<JournalSubject>(seed, 200);
}

TEST_CASE("property: the queue in Redis agrees with the model in random histories") {
  for (std::uint32_t seed = 1; seed <= 30; ++seed) play<RedisSubject>(seed, 200);
}

TEST_CASE("property: the queue in a cluster agrees with the model in random histories") {
  for (std::uint32_t seed = 31; seed <= 45; ++seed) play<ClusterSubject>(seed, 200);
}

TEST_SUITE("full") {
  TEST_CASE("property: the queue with a journal agrees with the model in a thousand random histories") {
    for (std::uint32_t seed = 1001; seed <= 2000; ++seed) play<JournalSubject>(seed, 200);
  }
  TEST_CASE("property: the queue in Redis agrees with the model in two thousand random histories") {
    for (std::uint32_t seed = 1001; seed <= 3000; ++seed) play<RedisSubject>(seed, 200);
  }
}
